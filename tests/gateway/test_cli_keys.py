"""`hocket keys` as it is typed: on a hocket that runs, on one that does not, and on a NATS of its own."""

import asyncio
import json
import os
import re
import signal
from pathlib import Path

import httpx
import pytest

from runtime.nats_server import EmbeddedServer
from tests.command import Dev, once, open_dev, run_command, start

pytestmark = pytest.mark.anyio

ALL_BUT_ADMIN = ["runs:read", "runs:start", "runs:resume", "runs:cancel", "triggers:write"]


async def make(folder: Path, *options: str, **settings: str) -> str:
    """A key as `KEY=$(hocket keys create)` gets it."""
    code, out, err = await run_command("keys", "create", *options, cwd=folder, **settings)
    assert code == 0, err
    assert re.fullmatch(r"hk_[A-Za-z0-9_-]{43}\n", out) and out.strip() not in err
    return out.strip()


async def listed(folder: Path, **settings: str) -> list[dict[str, object]]:
    code, out, err = await run_command("keys", "list", "--json", cwd=folder, **settings)
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


async def test_a_key_is_shown_once_and_listed_and_revoked_by_its_id_without_a_hocket(tmp_path: Path) -> None:
    said = ("--tenant", "acme", "--principal", "ada", "--name", "Ada L.", "--kind", "user", "--scope", "runs:read",
            "--scope", "runs:start", "--expires-in", "30")  # fmt: skip
    key, plain = await make(tmp_path, *said), await make(tmp_path)
    first, second = await listed(tmp_path)
    assert [first[name] for name in ("state", "tenant", "principal", "kind", "name", "scopes")] == [
        "good", "acme", "ada", "user", "Ada L.", ["runs:read", "runs:start"],
    ]  # fmt: skip
    assert str(first["expires_at"]) > str(first["created_at"]) and first["revoked_at"] is None
    assert second["scopes"] == ALL_BUT_ADMIN and second["expires_at"] is None and second["tenant"] == "default"
    code, out, err = await run_command("keys", "revoke", str(first["id"]), cwd=tmp_path)
    assert (code, out) == (0, "") and "revoked" in err
    first, second = await listed(tmp_path)
    assert (first["state"], second["state"]) == ("revoked", "good") and first["revoked_at"] is not None
    code, out, err = await run_command("keys", "list", cwd=tmp_path)
    assert [line.split()[:2] for line in out.splitlines()] == [[first["id"], "revoked"], [second["id"], "good"]]
    kept = b"".join(path.read_bytes() for path in (tmp_path / ".hocket").rglob("*") if path.is_file())
    assert key.encode() not in kept and plain.encode() not in kept and str(first["id"]).encode() in kept
    assert list((tmp_path / ".hocket").glob("*.ports")) == []  # the server for the moment is gone


async def answered(url: str, key: str | None) -> int:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient() as client:
        return (await client.get(f"{url}/v1/runs", headers=headers)).status_code


async def test_a_running_hocket_takes_a_new_key_at_once_and_lets_go_of_a_revoked_one(tmp_path: Path) -> None:
    async with open_dev(tmp_path) as dev:
        assert "no API key yet: loopback only, for development; create one with `hocket keys create`" in dev.out
        assert await answered(dev.url, None) == 200
        key = await make(tmp_path)
        await once(lambda: turned(dev, key, 200))
        assert await answered(dev.url, None) == 401
        (told,) = await listed(tmp_path)
        code, _, _ = await run_command("keys", "revoke", str(told["id"]), cwd=tmp_path)
        assert code == 0
        await once(lambda: turned(dev, key, 401), 1.0)
        assert await answered(dev.url, None) == 401


async def turned(dev: Dev, key: str, status: int) -> bool:
    return await answered(dev.url, key) == status


async def test_the_terminal_sends_its_key_and_says_what_is_missing_without_one(tmp_path: Path) -> None:
    key = await make(tmp_path, "--scope", "runs:read", "--scope", "runs:start")
    async with open_dev(tmp_path) as dev:
        assert "keys: required" in dev.out and key not in dev.out + dev.err
        here = {"HOCKET_URL": dev.url, "HOCKET_KEY": key}
        code, out, err = await run_command("run", "demo", "Hello", cwd=tmp_path, **here)
        assert code == 0 and "You said: Hello" in out, err
        code, out, _ = await run_command("runs", "--json", cwd=tmp_path, **here)
        (run,) = map(json.loads, out.splitlines())
        code, out, _ = await run_command("tail", run["id"], cwd=tmp_path, **here)
        assert code == 0 and "You said: Hello" in out
        for words in (("run", "demo", "x"), ("runs",), ("tail", "r1")):
            for bad in ("", "hk_wrong", "schlüssel"):
                code, out, err = await run_command(*words, cwd=tmp_path, HOCKET_URL=dev.url, HOCKET_KEY=bad)
                assert (code, out) == (2, "") and "Authorization: Bearer" in err and err.count("\n") == 1
                assert not bad or bad not in err


async def test_the_printed_lines_work_as_printed_with_the_key(tmp_path: Path) -> None:
    key = await make(tmp_path)
    async with open_dev(tmp_path) as dev:
        await once(lambda: "Ctrl-C" in dev.out)
        for line in re.findall(r"^  (curl .*)$", dev.out, re.MULTILINE):
            process = await asyncio.create_subprocess_exec(
                "bash", "-c", line, cwd=tmp_path, env=os.environ | {"HOCKET_KEY": key}, stdout=asyncio.subprocess.PIPE
            )
            async with asyncio.timeout(15):
                out, _ = await process.communicate()
            assert process.returncode == 0 and (b"RUN_FINISHED" in out or b'"status":"completed"' in out), out


async def test_with_a_key_any_address_may_be_bound(tmp_path: Path) -> None:
    await make(tmp_path)
    async with open_dev(tmp_path, "--host", "0.0.0.0") as dev:
        port = dev.url.rpartition(":")[2]
        assert await answered(f"http://127.0.0.1:{port}", None) == 401


async def test_a_revoked_key_still_counts_so_that_no_door_opens_again(tmp_path: Path) -> None:
    await make(tmp_path)
    (told,) = await listed(tmp_path)
    await run_command("keys", "revoke", str(told["id"]), cwd=tmp_path)
    async with open_dev(tmp_path, "--host", "0.0.0.0") as dev:
        assert await answered(f"http://127.0.0.1:{dev.url.rpartition(':')[2]}", None) == 401


async def test_a_gateway_asks_the_nats_it_is_on_for_its_keys(tmp_path: Path, nats: EmbeddedServer) -> None:
    there = {"HOCKET_NATS_URL": nats.url}
    for host in ("0.0.0.0", "::"):
        code, out, err = await run_command("gateway", "--port", "0", "--host", host, cwd=tmp_path, **there)
        assert (code, out) == (2, "") and err.count("\n") == 1 and "hocket keys create" in err and host in err
    async with start("gateway", "--port", "0", cwd=tmp_path, name="near", **there) as near:
        await near.says("hocket gateway on ")
        assert "no API key yet" in near.out
        key = await make(tmp_path, **there)
        async with start("gateway", "--port", "0", "--host", "0.0.0.0", cwd=tmp_path, name="far", **there) as far:
            await far.says("hocket gateway on ")
            assert "keys: required" in far.out
            near_url = near.out.split()[-1]
            far_url = f"http://127.0.0.1:{far.out.split()[-1].rpartition(':')[2]}"
            for url in (near_url, far_url):
                assert await answered(url, key) == 200 and await answered(url, None) == 401
            (told,) = await listed(tmp_path, **there)
            await run_command("keys", "revoke", str(told["id"]), cwd=tmp_path, **there)
            for url in (near_url, far_url):

                async def shut(url: str = url) -> bool:
                    return await answered(url, key) == 401

                await once(shut, 1.0)
            far.process.send_signal(signal.SIGTERM)
            await far.ended()
    assert not (tmp_path / ".hocket").exists()


async def test_what_cannot_be_done_is_one_sentence(tmp_path: Path) -> None:
    cases = [
        (("revoke", "key_none"), {}, "There is no key 'key_none': `hocket keys list` shows all of them."),
        (("create", "--tenant", ""), {}, "The tenant must be 1 to 256 bytes of UTF-8; it is 0."),
        (("list",), {"HOCKET_NATS_URL": "nats://127.0.0.1:1"}, "NATS at nats://127.0.0.1:1 cannot be reached"),
        (("list", "--data", "file/data"), {}, "The folder file/data cannot be used"),
    ]
    (tmp_path / "file").touch()
    for words, settings, told in cases:
        code, out, err = await run_command("keys", *words, cwd=tmp_path, **settings)
        assert (code, out) == (2, "") and told in err and "Traceback" not in err, err


async def test_the_folder_of_a_hocket_that_is_starting_is_waited_for(tmp_path: Path) -> None:
    async with start("dev", "--port", "0", cwd=tmp_path, name="dev") as dev:
        await once(lambda: (tmp_path / ".hocket" / "lock").exists(), 20.0)
        await make(tmp_path)
        await dev.says("Ctrl-C")
        assert len(await listed(tmp_path)) == 1
        dev.process.send_signal(signal.SIGTERM)
        await dev.ended()
