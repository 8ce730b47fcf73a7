"""A task's push notification configurations: A2A's form and ours (A2A 1.0.1, 3.1.7 to 3.1.10)."""

from collections.abc import Sequence

from a2a.server.tasks.push_notification_config_store import normalize_push_notification_config
from a2a.types import AuthenticationInfo, ListTaskPushNotificationConfigsResponse, TaskPushNotificationConfig

from runtime.push_configs import PushConfig

from .call import Call, version_of


def config_of(call: Call, given: TaskPushNotificationConfig, task_id: str) -> PushConfig:
    """Its id is the task's where it has none of its own; the webhook is told the version that its peer speaks."""
    config = normalize_push_notification_config(task_id, given)
    version = "0.3" if version_of(call.request).startswith("0.") else "1.0"
    authentication = config.authentication
    return PushConfig(config.id, config.url, config.token, authentication.scheme, authentication.credentials, version)


def told(config: PushConfig, task_id: str) -> TaskPushNotificationConfig:
    wire = TaskPushNotificationConfig(id=config.id, task_id=task_id, url=config.url, token=config.token)
    if config.scheme:
        wire.authentication.CopyFrom(AuthenticationInfo(scheme=config.scheme, credentials=config.credentials))
    return wire


def page(configs: Sequence[PushConfig], task_id: str) -> ListTaskPushNotificationConfigsResponse:
    """All of them: a task has few."""
    return ListTaskPushNotificationConfigsResponse(configs=[told(one, task_id) for one in configs])
