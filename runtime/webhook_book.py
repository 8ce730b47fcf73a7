"""Which webhooks each tenant has, as every worker that tells them keeps it."""

from asyncio import Task
from collections.abc import Callable

from .layout import WEBHOOKS
from .log import Log
from .mirror import Mirror, asked
from .pull import Delivery
from .webhook import Held, Webhook, decode


class WebhookBook:
    """The webhooks of all tenants that have any."""

    def __init__(self, log: Log) -> None:
        self._by_tenant: dict[str, Held] = {}
        self._mirror = Mirror(log, "webhooks", WEBHOOKS, self._take)

    async def start(self) -> None:
        """Raises Unavailable or Refused if the log cannot be read."""
        await self._mirror.start()

    async def stop(self) -> None:
        await self._mirror.stop()

    def ask(self) -> "Task[None]":
        """The question that `of` waits for."""
        return self._mirror.ask()

    async def of(self, run: str, question: "Task[None]") -> list[str]:
        """The ids of those that the run's tenant has, with every change that was written before the question. Raises
        Unavailable."""
        await asked(question)
        return list(self._by_tenant.get(run.split(".")[1], ()))

    def finder(self, run: str, webhook_id: str) -> Callable[[], Webhook | None]:
        """Says what the webhook is as far as is known at the moment; None once it is deleted."""
        tenant = run.split(".")[1]
        return lambda: self._by_tenant.get(tenant, {}).get(webhook_id)

    def _take(self, delivery: Delivery) -> None:
        tenant, held = delivery.subject.rpartition(".")[2], decode(delivery.body)
        if held:
            self._by_tenant[tenant] = held
        else:
            self._by_tenant.pop(tenant, None)
