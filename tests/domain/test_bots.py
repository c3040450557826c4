"""Who is taken for a bot: what says that it is one, and nobody else."""

import pytest

from goodword.referral.bots import is_bot

ANDROID = "Mozilla/5.0 (Linux; Android 15; {}) AppleWebKit/537.36 (KHTML, like Gecko)"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
CHROME = " Chrome/143.0.0.0 Mobile Safari/537.36"

PEOPLE = {
    "Telegram on Android": ANDROID.format("Pixel 9") + CHROME + " Telegram-Android/11.2.1 (Google Pixel 9; Android 15)",
    "Pinterest on iOS": IPHONE + " Mobile/16B92 [Pinterest/iOS]",
    "Pinterest on Android": ANDROID.format("SM-S921B; wv") + CHROME + " [Pinterest/Android]",
    "a CUBOT": ANDROID.format("CUBOT X19") + CHROME,
    "another CUBOT": ANDROID.format("CUBOT_X18_Plus Build/O11019") + CHROME,
    "a CUBOT that says no more": ANDROID.format("CUBOT") + CHROME,
    "an M bot": ANDROID.format("M bot 60") + CHROME,
    "another M bot": ANDROID.format("M bot Tab 100 Build/MRA58K") + CHROME,
    "Instagram": IPHONE + " Mobile/15E148 Instagram 380.0.0.29.109 (iPhone14,5; iOS 18_5; en_US; scale=3.00)",
    "Facebook": IPHONE + " Mobile/15E148 [FBAN/FBIOS;FBAV/512.0.0.51.99;FBBV/722;FBDV/iPhone14,5;FBSN/iOS]",
    "Messenger": ANDROID.format("SM-A546B; wv") + CHROME + " [FB_IAB/Orca-Android;FBAV/505.0.0.1;]",
    "LINE": IPHONE + " Mobile/15E148 Safari Line/15.8.1",
    "WeChat": ANDROID.format("V2301A; wv")
    + CHROME
    + " MicroMessenger/8.0.50.2701(0x28003253) NetType/WIFI Language/zh_CN",
    "Snapchat": IPHONE + " Mobile/15E148 Snapchat/13.40.0.43 (like Safari/8620.2.4, panda)",
    "TikTok": ANDROID.format("SM-G998B; wv") + CHROME + " musical_ly_2023700040 BytedanceWebview/d8a21c6",
    "Slack": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Slack/4.41.105 Chrome/132.0.0.0",
    "Slack on iOS": IPHONE + " Mobile/15E148 Slack_SSB/24.10",
    "Discord": "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) discord/1.0.9 Electron/33.0",
    "LinkedIn": IPHONE + " Mobile/15E148 [LinkedInApp]/9.30.1234",
    "X": IPHONE + " Mobile/15E148 Twitter for iPhone/10.60",
    "WhatsApp": IPHONE + " Mobile/15E148 WhatsApp/2.25.10",
    "Reddit": IPHONE + " Mobile/15E148 Reddit/Version 2025.20.0/Build 617",
    "Google's app": IPHONE + " GSA/371.0.7 Mobile/15E148 Safari/604.1",
    "DuckDuckGo": IPHONE + " Version/18.5 Mobile/15E148 DuckDuckGo/7 Safari/605.1.15",
    "Yandex": ANDROID.format("arm_64; SM-A515F") + " Chrome/130.0 YaApp_Android/25.20 YaSearchBrowser/25.20 Mobile",
    "KakaoTalk": ANDROID.format("SM-S918N; wv") + CHROME + ";KAKAOTALK 2911050",
    "a Nexus": ANDROID.format("Google Nexus 5X") + CHROME,
    "Safari": IPHONE + " Version/18.5 Mobile/15E148 Safari/604.1",
    "Internet Explorer": "Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.2; Trident/6.0)",
    "an Android app": "okhttp/4.12.0",
    "another Android app": "Dalvik/2.1.0 (Linux; U; Android 15; Pixel 9 Build/AP4A)",
    "an iOS app": "Shop/42 CFNetwork/3826.500 Darwin/24.5.0",
    "a Flutter app": "Dart/3.8 (dart:io)",
    "Lynx": "Lynx/2.9.2 libwww-FM/2.14",
}

BOTS = {
    "meta-externalfetcher": "meta-externalfetcher/1.1",
    "Facebook": "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "Bluesky": "Mozilla/5.0 (compatible; Bluesky Cardyb/1.1; +mailto:support@bsky.app)",
    "Iframely": "Iframely/1.3.1 (+https://iframely.com/docs/about)",
    "GoogleOther": ANDROID.format("Nexus 5X") + CHROME + " (compatible; GoogleOther)",
    "Mastodon": "http.rb/5.2.0 (Mastodon/4.3.0; +https://mastodon.example/)",
    "http.rb": "http.rb/5.2.0",
    "curl": "curl/8.5.0",
    "Wget": "Wget/1.21.4",
    "requests": "python-requests/2.32.3",
    "urllib": "Python-urllib/3.13",
    "aiohttp": "aiohttp/3.11",
    "httpx": "python-httpx/0.28.1",
    "Go": "Go-http-client/2.0",
    "Node": "node",
    "axios": "axios/1.7.9",
    "Java": "Java/17.0.9",
    "none": "",
    "a blank one": " ",
    "Googlebot": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Googlebot that runs JavaScript": "Mozilla/5.0 AppleWebKit/537.36 (compatible; Googlebot/2.1) Chrome/143.0",
    "Google's inspection": "Mozilla/5.0 (compatible; Google-InspectionTool/1.0;)",
    "Google's ads": "AdsBot-Google (+http://www.google.com/adsbot.html)",
    "Gmail's images": "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
    "HeadlessChrome": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 HeadlessChrome/143.0.0.0 Safari/537.36",
    "Pinterestbot": "Mozilla/5.0 (compatible; Pinterestbot/1.0; +http://www.pinterest.com/bot.html)",
    "Telegram": "TelegramBot (like TwitterBot)",
    "Slack": "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "Slack's images": "Slack-ImgProxy (+https://api.slack.com/robots)",
    "Discord": "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
    "LinkedIn": "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
    "WhatsApp": "WhatsApp/2.25.31.76 A",
    "iMessage": "Mozilla/5.0 (Macintosh) AppleWebKit/601.2.4 facebookexternalhit/1.1 Facebot Twitterbot/1.0",
    "Snapchat": "Snap URL Preview Service; bot; snapchat; https://developers.snap.com/robots",
    "KakaoTalk": "facebookexternalhit/1.1; kakaotalk-scrap/1.0; +https://devtalk.kakao.com/",
    "Skype and Teams": "Mozilla/5.0 (Windows NT 6.1) SkypeUriPreview Preview/0.5 skype-url-preview@microsoft.com",
    "Office": "Mozilla/4.0 (compatible; ms-office; MSOffice 16)",
    "Baidu": "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)",
    "Bytespider": "Mozilla/5.0 (Linux; Android 5.0) AppleWebKit/537.36 Mobile Safari/537.36 (compatible; Bytespider)",
    "ChatGPT": "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ChatGPT-User/1.0; +https://openai.com/bot)",
    "UptimeRobot": "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
    "Pingdom": "Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)",
    "Lighthouse": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/143.0 Safari/537.36 Chrome-Lighthouse",
}


@pytest.mark.parametrize("browser", PEOPLE)
def test_a_person_is_no_bot_whatever_the_browser_or_the_phone_is_called(browser: str) -> None:
    assert not is_bot(PEOPLE[browser])


@pytest.mark.parametrize("bot", BOTS)
def test_a_bot_is_known_by_what_it_calls_itself(bot: str) -> None:
    assert is_bot(BOTS[bot])
