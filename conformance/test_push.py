"""Dead letters of webhooks, through REST."""

import httpx
import pytest

LIST = "/v1/push/dead-letters"
SHOWN = {"id", "run_id", "config_id", "url", "seq", "error", "attempts", "first_at", "last_at", "of_tenant"}


@pytest.mark.requirement("push.dead-letters")
def test_dead_letters_come_in_pages_and_show_no_credentials(http: httpx.Client) -> None:
    answer = http.get(LIST, params={"limit": 2})
    assert answer.status_code == 200
    told = answer.json()
    assert set(told) == {"dead_letters", "next_cursor"} and len(told["dead_letters"]) <= 2
    assert all(set(letter) == SHOWN for letter in told["dead_letters"])
    times = [letter["last_at"] for letter in told["dead_letters"]]
    assert times == sorted(times, reverse=True)


@pytest.mark.requirement("push.dead-letters-query")
@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "x"}, {"cursor": "none"}, {"what": "ever"}])
def test_a_query_that_is_none_is_refused_by_name(http: httpx.Client, query: dict[str, str]) -> None:
    answer = http.get(LIST, params=query)
    assert answer.status_code == 422 and answer.headers["content-type"] == "application/problem+json"
    assert next(iter(query)) in answer.json()["detail"]


@pytest.mark.requirement("push.redeliver")
@pytest.mark.parametrize("dead_letter", ["0", "99999999999", "none", "%2F", "-1", "1.5", "9" * 200])
def test_a_dead_letter_that_is_not_there_is_not_found(http: httpx.Client, dead_letter: str) -> None:
    answer = http.post(f"{LIST}/{dead_letter}/redeliver")
    assert answer.status_code == 404 and answer.json()["code"] == "not_found"
