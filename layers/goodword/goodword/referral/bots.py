"""Who follows links without a person behind: crawlers, previews of messengers and mail, programs.

A short list of our own, in one expression that is read when the function starts. The lists that others keep are of
hundreds of patterns, some of which meet people too (`Telegram`, `Pinterest`, `bot` in the name of a phone), and a lost
referral costs more than a click too many: when in doubt, it is a person. Most crawlers give an address after a plus, so
the list need not know them.
"""

import re
from functools import lru_cache

_TOKENS = re.compile(
    # `CUBOT X19` and `M bot 60` are phones
    r"(?<!\bcu)(?<!\bm )bot(?:\b|_)|crawl|spider|slurp|scrapy/|-scrap\b|archiver|\+(?:https?:|mailto:)"
    # previews; what WhatsApp's own browser shows names WhatsApp last
    r"|facebookexternalhit|facebookcatalog|\bmeta-(?:external|webindexer)|^whatsapp/|skypeuripreview|bingpreview|cardyb"
    r"|iframely|embedly|vkshare|flipboard(?:proxy|rss)|(?:link|url|web|page) preview|ms-office|^microsoft office/"
    r"|googleother|googleimageproxy|mediapartners|-google\b|\bgoogle-[a-z]|google favicon|yahoomailproxy|fetcher\b"
    # watchers, and browsers that nobody looks at
    r"|lighthouse|pagespeed|gtmetrix|pingdom|uptimerobot|statuscake|site24x7|headlesschrome|phantomjs|prerender"
    # programs, but for those by which apps speak for a person (okhttp, CFNetwork, Dart)
    r"|^(?:lib)?curl|^wget|http\.rb/|^python|^aiohttp|^go-http-client|^java/|^apache-httpclient|^libwww-perl|^ruby"
    r"|^faraday|^guzzlehttp|^php|^axios/|^node|^undici|^got |^postmanruntime|^insomnia|^httpie|powershell/",
    re.IGNORECASE,
)


@lru_cache(maxsize=500)
def is_bot(user_agent: str) -> bool:
    """Whether a user agent is known to be no person's; none at all is nobody's.

    Looked up for most visits: there are many visitors and few browsers.
    """
    return not user_agent.strip() or _TOKENS.search(user_agent) is not None
