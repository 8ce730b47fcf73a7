"""The data folder's memory of its log: a log that was lost or replaced is refused, not silently begun again.

After the first start the folder keeps when the log was made. nats-server starts on a folder whose stream it cannot
read, without that stream; hocket would make a new one over what is left of the old.
"""

from pathlib import Path

import orjson

from protocol.errors import Refused, Unavailable

from .layout import STREAM
from .log import Log
from .nats_server import connect

_MARKER = "log.created"
_ANSWER_SECONDS = 5.0


async def check_log(folder: Path, url: str) -> None:
    """Creates the log at the first start, and notes it in `folder`; later raises Refused if it is not that one."""
    marker = folder / _MARKER
    if marker.exists():
        await _compare(folder, url, marker.read_text().strip())
        return
    log = await Log.open(url, "hocket-first-start")
    try:
        new = marker.with_suffix(".new")
        new.write_text(await log.created())
        new.replace(marker)
    finally:
        await log.close()


async def _compare(folder: Path, url: str, noted: str) -> None:
    link = await connect(url, "hocket-check", lambda: None, lambda: None)
    try:
        answer = await link.request(f"$JS.API.STREAM.INFO.{STREAM}", b"", timeout=_ANSWER_SECONDS)
        created = str(orjson.loads(answer.data).get("created", ""))
    except Exception as bad:  # nats-py's own errors, all of them an answer that did not come
        raise Unavailable(f"The log in {folder} does not answer ({type(bad).__name__}): start hocket again.") from bad
    finally:
        await link.close()
    if created != noted:
        what = "holds another log than it did" if created else "has lost its log, or the log is damaged"
        raise Refused(
            f"The folder {folder} {what}: put {folder / 'log'} back from a copy, "
            f"or move the folder away, or choose another with --data."
        )
