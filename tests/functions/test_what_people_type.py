"""What a person types where a code belongs never blocks a signup; what an app itself sends is held to account."""

import json
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from tests.support import rows
from tests.support.answers import fields
from tests.support.companies import Company

NOT_GIVEN = ["", " ", "\t\n", "\u200b", "\ufeff \u00a0"]
NO_CODE = [
    "x" * 65, "x" * 4096, "NO-SUCH-CODE", "what is a code?", "A\0B", "\0", "\x01", "\ud83d", "A\udc00", "\ufffd",
    "🎉", "https://shop.example/", "https://go.example/r/", "' OR 1=1 --", "../..", "%00",
]  # fmt: skip
TYPED = ["referral_code", "click_id", "coupon_code", "invite_code"]


def attribution(company: Company, **typed: object) -> tuple[str, str | None, str | None]:
    """What a signup of Ben's comes to."""
    answer = company.ok("POST", "/v1/signups", {"user": {"external_id": "ben"}, **typed}, status=201)
    found = answer["attribution"]
    return found["outcome"], found["reason"], found["source"]


@pytest.mark.parametrize("field", TYPED)
@pytest.mark.parametrize("text", NOT_GIVEN)
def test_a_field_that_is_left_empty_is_not_given(company: Company, field: str, text: str) -> None:
    assert attribution(company, **{field: text}) == ("none", None, None)


@pytest.mark.parametrize("field", ["referral_code", "click_id", "coupon_code"])
@pytest.mark.parametrize("text", NO_CODE)
def test_whatever_is_typed_the_person_is_signed_up(company: Company, field: str, text: str) -> None:
    source = field.partition("_")[0].replace("referral", "code")
    assert attribution(company, **{field: text}) == ("rejected", "unknown_code", source)


@pytest.mark.parametrize("text", NO_CODE)
def test_a_bad_invite_blocks_nobody(company: Company, text: str) -> None:
    assert attribution(company, invite_code=text) == ("none", None, None)


@pytest.mark.parametrize("field", TYPED)
def test_what_is_no_text_or_a_whole_book_is_the_apps_mistake(company: Company, field: str) -> None:
    for value in ("x" * 4097, 12345, ["CODE"], {"code": "CODE"}):
        body = {"user": {"external_id": "ben"}, field: value}
        assert fields(company.api.send("POST", "/v1/signups", body)) == {field}


PASTED = [
    "{code}", " {code}\n", "{lower}", "\u200b{code}\u200d", "{half}\u00ad{rest}", "{code}.", "{code}!)", "{wide}",
    "https://go.example/r/{code}", "HTTPS://GO.EXAMPLE/R/{lower}/", "go.example/r/{code}?utm_source=chat#top",
    "https://go.example/r/{code}?next=/r/other", "https://go.example/r/{code}).", " /r/{code} ",
]  # fmt: skip


def pasted(text: str, code: str) -> str:
    """A code as somebody has pasted it."""
    wide = "".join(chr(ord(letter) + 0xFEE0) for letter in code)
    return text.format(code=code, lower=code.lower(), half=code[:4], rest=code[4:], wide=wide)


@pytest.mark.parametrize("text", PASTED)
def test_a_code_is_known_however_it_was_pasted(company: Company, text: str) -> None:
    code = company.sign_up("ada")["user"]["referral_code"]
    assert attribution(company, referral_code=pasted(text, code)) == ("attributed", None, "code")


@pytest.mark.parametrize("text", PASTED)
def test_a_click_and_a_late_attribution_read_a_code_as_a_signup_does(company: Company, text: str) -> None:
    code = company.sign_up("ada")["user"]["referral_code"]
    company.sign_up("ben")
    assert company.ok("POST", "/v1/clicks", {"code": pasted(text, code)})["code"] == code
    late = {"referral_code": pasted(text, code), "reason": "asked for it"}
    assert company.ok("PUT", "/v1/users/ben/referrer", late)["attribution"]["outcome"] == "attributed"


@pytest.mark.parametrize("text", [text for text in PASTED if "/" not in text])
def test_a_link_and_a_check_read_a_code_as_a_signup_does(company: Company, text: str) -> None:
    code = company.sign_up("ada")["user"]["referral_code"]
    path = quote(pasted(text, code))
    assert company.ok("GET", f"/v1/codes/{path}")["code"] == code
    assert "gw_click=" in company.browser.send("GET", f"/r/{path}").headers["location"]


@pytest.mark.parametrize("text", ["x" * 65, "NO-SUCH-CODE", "A\0B", "\ud83d"])
def test_a_late_attribution_by_what_can_be_no_code_is_by_an_unknown_one(company: Company, text: str) -> None:
    company.sign_up("ben")
    answer = company.ok("PUT", "/v1/users/ben/referrer", {"referral_code": text, "reason": "asked for it"})
    assert answer["attribution"]["reason"] == "unknown_code"


@pytest.mark.parametrize("dash", ["-", "\u2010", "\u2011", "\u2013", "\u2014", "\u2212", "\ufe63", "\uff0d"])
def test_a_dash_is_a_dash_whatever_the_keyboard_made_of_it(company: Company, dash: str) -> None:
    company.sign_up("ada")
    code = f"ADA-{company.id.hex[-12:]}"
    company.ok("POST", "/v1/codes", {"code": code, "user_id": "ada"}, status=201)
    assert attribution(company, referral_code=code.replace("-", dash)) == ("attributed", None, "code")


def test_a_click_is_known_with_blanks_around_it(company: Company) -> None:
    code = company.sign_up("ada")["user"]["referral_code"]
    click_id = company.ok("POST", "/v1/clicks", {"code": code})["id"]
    assert attribution(company, click_id=f" {click_id}\u200b\n") == ("attributed", None, "click")


@pytest.mark.parametrize("typed", ["", "  ", "NO-SUCH-CODE", "x" * 65, "\0", "\ud83d"])
def test_a_mistyped_code_leaves_the_click_to_refer(company: Company, typed: str) -> None:
    code = company.sign_up("ada")["user"]["referral_code"]
    click_id = company.ok("POST", "/v1/clicks", {"code": code})["id"]
    assert attribution(company, referral_code=typed, click_id=click_id) == ("attributed", None, "click")


def test_a_text_with_a_nul_is_no_shorter_code(company: Company) -> None:
    code = company.sign_up("ada")["user"]["referral_code"]
    assert attribution(company, referral_code=f"{code[:4]}\0{code[4:]}") == ("rejected", "unknown_code", "code")


@pytest.mark.parametrize("text", ["/r/" + "\u33af" * 4090 + " b", "/r/" * 1365, "a" * 4000 + " b", "\u33af" * 4096])
def test_a_text_that_is_hard_to_read_keeps_nobody_waiting(company: Company, text: str) -> None:
    """Once, reading one took time by the square of its length, and the function was ended before it had answered."""
    assert attribution(company, referral_code=text, coupon_code=text, click_id=text)[0] == "rejected"


@pytest.mark.parametrize("text", ["", "x" * 2001, "Fire\0fox", "\ud83d"])
def test_what_a_browser_says_of_itself_keeps_nobody_out(company: Company, text: str) -> None:
    said = {"user_agent": text, "device_fingerprint": text}
    assert company.sign_up("ben", **said)["attribution"]["outcome"] == "none"


def test_the_reason_is_that_of_the_best_that_was_named(company: Company) -> None:
    named = {"referral_code": "NO-SUCH-CODE", "click_id": "clk_" + "0" * 32, "coupon_code": "SUMMER"}
    assert attribution(company, **named) == ("rejected", "unknown_code", "code")
    answer = company.sign_up("cleo", **{**named, "referral_code": " "})
    assert answer["attribution"]["reason"] == "outside_window"


@pytest.mark.parametrize("text", ["Ada \ufffd", "\ufffd" * 3, "Zoë 🎉"])
def test_a_name_may_hold_any_character_even_the_one_for_what_was_lost(company: Company, text: str) -> None:
    body: dict[str, Any] = {"user": {"external_id": "ben", "username": text}, "user_agent": text}
    for number, raw in enumerate((json.dumps(body, ensure_ascii=False).encode(), json.dumps(body).encode())):
        for content_type in ("application/json", "application/octet-stream"):
            body["user"]["external_id"] = f"ben-{number}-{content_type[-4:]}"
            sent = raw.replace(b'"ben"', json.dumps(body["user"]["external_id"]).encode())
            answer = company.api.send("POST", "/v1/signups", raw=sent, headers={"content-type": content_type})
            assert (answer.status, answer.json["user"]["username"]) == (201, text)


@pytest.mark.parametrize("escape", [r"\ud83d", r"\uDE00\uD83D", r"x\ud83dx", r"\\\ud83d"])
def test_half_an_emoji_is_refused_by_the_name_of_the_field_that_the_app_fills(company: Company, escape: str) -> None:
    raw = f'{{"user": {{"external_id": "ben", "username": "{escape}"}}}}'.encode()
    assert fields(company.api.send("POST", "/v1/signups", raw=raw)) == {"user.username"}


def test_an_escaped_backslash_is_no_emoji(company: Company) -> None:
    raw = rb'{"user": {"external_id": "ben", "username": "\\ud83d \ud83d\ude00 \u00e9"}}'
    answer = company.api.send("POST", "/v1/signups", raw=raw)
    assert (answer.status, answer.json["user"]["username"]) == (201, r"\ud83d 😀 é")


@pytest.mark.parametrize(
    "ip",
    [
        "999.1.1.1", "1.2.3", "010.0.0.1", "0x7f.1", "1.2.3.4:80", "1.2.3.4, 5.6.7.8", "[::1]", "::1%eth0", "fe80::1%1",
        "::ffff:1.2.3.999", "1::2::3", "localhost", "unknown", "1.2.3.4/32", "\0", "x" * 200,
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(company: Company, ip: str) -> None:
    assert fields(company.api.send("POST", "/v1/signups", {"user": {"external_id": "ben"}, "ip": ip})) == {"ip"}


DISTINCT_ADDRESSES = "SELECT DISTINCT ip_hash FROM user_fingerprints WHERE company_id = %(id)s"


@pytest.mark.parametrize("spellings", [
    ["203.0.113.7", " 203.0.113.7 ", "::ffff:203.0.113.7", "::FFFF:cb00:7107"],
    ["2001:db8::1", "2001:DB8:0:0:0:0:0:1", "2001:0db8:0000:0000:0000:0000:0000:0001"],
])  # fmt: skip
def test_one_address_is_one_however_it_is_written(
    company: Company, superuser: psycopg.Connection, spellings: list[str]
) -> None:
    for number, ip in enumerate(spellings):
        company.sign_up(f"person-{number}", ip=ip)
    stored = rows.find(superuser, DISTINCT_ADDRESSES, id=company.id)
    assert [len(row["ip_hash"]) for row in stored] == [32]


@pytest.mark.parametrize("ip", ["", " ", None])
def test_an_address_that_is_left_empty_is_not_given(
    company: Company, superuser: psycopg.Connection, ip: object
) -> None:
    company.sign_up("ada", ip=ip)
    assert rows.find(superuser, "SELECT * FROM user_fingerprints WHERE company_id = %(id)s", id=company.id) == []


@pytest.mark.parametrize(("mine", "another"), [
    ("me@x.com", "me+1@x.com"), ("me+shop@x.com", "ME@X.com"), ("me.you@gmail.com", "m.eyou+2@GoogleMail.com"),
])  # fmt: skip
def test_a_second_address_of_the_same_mailbox_earns_nothing(company: Company, mine: str, another: str) -> None:
    ada = company.ok("POST", "/v1/signups", {"user": {"external_id": "ada", "email": mine}})["user"]
    body = {"user": {"external_id": "ada-2", "email": another}, "referral_code": ada["referral_code"]}
    answer = company.ok("POST", "/v1/signups", body, status=201)
    assert (answer["attribution"]["reason"], answer["awards"]) == ("self_referral", [])
    assert company.balance("ada") == 0
    late = {"referral_code": ada["referral_code"], "reason": "asked for it"}
    assert company.ok("PUT", "/v1/users/ada-2/referrer", late)["attribution"]["reason"] == "self_referral"
