"""Where a link leads: the destination as it is stored, and the Location that a visitor gets."""

from uuid import UUID

import pytest

from goodword.core import urls
from goodword.referral import redirects

CLICK = UUID(int=1)
OURS = f"gw_click=clk_{CLICK.hex}"


@pytest.mark.parametrize(
    ("url", "stored"),
    [
        ("https://shop.example/start", "https://shop.example/start"),
        ("https://shop.example", "https://shop.example"),
        ("http://localhost:3000/#/signup?x=1", "http://localhost:3000/#/signup?x=1"),
        ("https://[::1]:3000/x", "https://[::1]:3000/x"),
        ("https://shop.example:443/a/../b", "https://shop.example:443/a/../b"),
        (
            "https://shop.example/a%2fb?msg=hello%20world&flag&'=%E9",
            "https://shop.example/a%2fb?msg=hello%20world&flag&'=%E9",
        ),
        ("https://shop.example/?a=100%", "https://shop.example/?a=100%"),
        (
            "https://münchen.example/ü?msg=hello%20world&flag",
            "https://xn--mnchen-3ya.example/%C3%BC?msg=hello%20world&flag",
        ),
        ("https://straße.example/", "https://xn--strae-oqa.example/"),
        ("https://MÜNCHEN.example:8443?ü=ü#ü", "https://xn--mnchen-3ya.example:8443?%C3%BC=%C3%BC#%C3%BC"),
        ("https://shop。example/日本", "https://shop.example/%E6%97%A5%E6%9C%AC"),
    ],
)
def test_a_destination_is_stored_as_a_browser_would_ask_for_it(url: str, stored: str) -> None:
    assert urls.destination(url) == stored
    assert urls.destination(stored) == stored


@pytest.mark.parametrize(
    "url",
    [
        "https://user@shop.example/",
        "https://user:password@shop.example/",
        "https://@shop.example/",
        "https://shop.example\\@evil.example/",
        "https://shop.example/\\evil.example",
        "https://shop.example%40evil.example/",
        "https://shop.example:99999/",
        "https://shop.example:80a/",
        "https://256.1.1.1/",
        "https://[::1/",
        "https://xn--a/",
        "https://shop.example/" + "ü" * 400,
    ],
)
def test_a_destination_that_reads_otherwise_than_it_leads_is_none(url: str) -> None:
    with pytest.raises(ValueError, match="must"):
        urls.destination(url)


@pytest.mark.parametrize(
    ("destination", "query", "location"),
    [
        ("https://a.example/", "", f"https://a.example/?{OURS}"),
        (
            "https://xn--mnchen-3ya.example/%C3%BC?msg=hello%20world&flag",
            "x=%E9",
            f"https://xn--mnchen-3ya.example/%C3%BC?msg=hello%20world&flag&x=%E9&{OURS}",
        ),
        ("https://a.example", "utm=a+b&utm=c%20d&e=&f&", f"https://a.example?utm=a+b&utm=c%20d&e=&f&{OURS}"),
        ("https://a.example/?plan=pro#top", "plan=free&PLAN=x", f"https://a.example/?plan=pro&PLAN=x&{OURS}#top"),
        ("https://a.example/?a+b=1", "a%20b=2&%61+b=3", f"https://a.example/?a+b=1&{OURS}"),
        (
            "https://a.example/?gw_click=old&key=theirs",
            "gw_click=mine&k%65y=gw_pub_1",
            f"https://a.example/?key=theirs&{OURS}",
        ),
        ("https://a.example/?%E9=1", "%E8=2", f"https://a.example/?%E9=1&%E8=2&{OURS}"),
        ("https://a.example/", "q[]=1|2&r={~}", f"https://a.example/?q[]=1|2&r={{~}}&{OURS}"),
        ("https://a.example/", 'x=100%&y="<ü>', f"https://a.example/?x=100%25&y=%22%3C%C3%BC%3E&{OURS}"),
        ("https://a.example/", "x=\r\nset-cookie: a", f"https://a.example/?x=%0D%0Aset-cookie:%20a&{OURS}"),
        ("https://a.example/", "x=\ud800", f"https://a.example/?x=%3F&{OURS}"),
        ("https://a.example/?&a=1&&b", "=x&c", f"https://a.example/?&a=1&&b&=x&c&{OURS}"),
    ],
)
def test_both_queries_are_passed_on_byte_for_byte(destination: str, query: str, location: str) -> None:
    assert redirects.location(destination, query, CLICK) == location


def test_without_a_click_nothing_of_ours_is_added() -> None:
    assert redirects.location("https://a.example/?", "", None) == "https://a.example/"
