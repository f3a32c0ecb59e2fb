"""What a digest says, in the device's language: a title, and how much is new."""

from typing import Final, NamedTuple

from worker.core.burst_phrases import PHRASES as MESSAGES
from worker.core.digest import Digest
from worker.core.plurals import plural
from worker.core.templates import fallbacks


class Phrases(NamedTuple):
    """A title; and in how many conversations, and how many mention the reader, in the forms that `plural` chooses from."""

    title: str
    conversations: tuple[str, ...]
    mentions: tuple[str, ...]


#: By language, for those that `burst_phrases` has.
PHRASES: Final[dict[str, Phrases]] = {
    "af": Phrases("Terwyl jy weg was", ("in {} gesprek", "in {} gesprekke"), ("{} noem jou",)),
    "ar": Phrases("أثناء غيابك", ("المحادثات: {}",), ("الإشارات إليك: {}",)),
    "az": Phrases("Siz olmayanda", ("{} söhbətdə",), ("sizin adınız çəkilir: {}",)),
    "be": Phrases("Пакуль вас не было", ("размоў: {}",), ("згадак пра вас: {}",)),
    "bg": Phrases("Докато ви нямаше", ("в {} разговор", "в {} разговора"), ("{} ви споменава", "{} ви споменават")),
    "bn": Phrases("আপনি যখন ছিলেন না", ("{}টি কথোপকথনে",), ("আপনাকে উল্লেখ: {}",)),
    "bs": Phrases("Dok vas nije bilo", ("u {} razgovoru", "u {} razgovora"), ("spominjanja: {}",)),
    "ca": Phrases("Mentre no hi eres", ("en {} conversa", "en {} converses"), ("{} et menciona", "{} et mencionen")),
    "cs": Phrases("Zatímco jste byli pryč", ("v {} konverzaci", "v {} konverzacích"), ("zmínky o vás: {}",)),
    "da": Phrases("Mens du var væk", ("i {} samtale", "i {} samtaler"), ("{} nævner dig",)),
    "de": Phrases(
        "Während du weg warst", ("in {} Unterhaltung", "in {} Unterhaltungen"), ("{} erwähnt dich", "{} erwähnen dich")
    ),
    "el": Phrases("Όσο λείπατε", ("σε {} συνομιλία", "σε {} συνομιλίες"), ("{} σας αναφέρει", "{} σας αναφέρουν")),
    "en": Phrases(
        "While you were away", ("in {} conversation", "in {} conversations"), ("{} mentions you", "{} mention you")
    ),
    "es": Phrases(
        "Mientras no estabas",
        ("en {} conversación", "en {} conversaciones"),
        ("{} te menciona", "{} te mencionan"),
    ),
    "et": Phrases("Kui sind polnud", ("{} vestluses",), ("mainimisi: {}",)),
    "fa": Phrases("وقتی نبودید", ("در {} گفتگو",), ("اشاره به شما: {}",)),
    "fi": Phrases("Kun olit poissa", ("{} keskustelussa",), ("mainintoja sinusta: {}",)),
    "fil": Phrases("Habang wala ka", ("sa {} usapan",), ("{} ang bumanggit sa iyo",)),
    "fr": Phrases(
        "Pendant votre absence",
        ("dans {} conversation", "dans {} conversations"),
        ("{} vous mentionne", "{} vous mentionnent"),
    ),
    "gl": Phrases("Mentres non estabas", ("en {} conversa", "en {} conversas"), ("{} menciónate", "{} menciónante")),
    "he": Phrases("בזמן שלא היית כאן", ("שיחות: {}",), ("אזכורים שלך: {}",)),
    "hi": Phrases("जब आप दूर थे", ("{} वार्तालापों में",), ("आपका उल्लेख: {}",)),
    "hr": Phrases("Dok vas nije bilo", ("u {} razgovoru", "u {} razgovora"), ("spominjanja: {}",)),
    "hu": Phrases("Amíg távol voltál", ("{} beszélgetésben",), ("{} megemlít téged",)),
    "hy": Phrases("Մինչ դուք բացակայում էիք", ("{} զրույցում",), ("ձեր հիշատակումները՝ {}",)),
    "id": Phrases("Selagi Anda pergi", ("di {} percakapan",), ("{} menyebut Anda",)),
    "it": Phrases(
        "Mentre non c’eri", ("in {} conversazione", "in {} conversazioni"), ("{} ti menziona", "{} ti menzionano")
    ),
    "ja": Phrases("不在中の通知", ("{}件の会話",), ("あなたへのメンション{}件",)),
    "ka": Phrases("სანამ არ იყავით", ("{} საუბარში",), ("თქვენი ხსენება: {}",)),
    "ko": Phrases("자리를 비운 동안", ("대화 {}개",), ("나를 언급한 메시지 {}개",)),
    "lt": Phrases("Kol jūsų nebuvo", ("pokalbiai: {}",), ("jūsų paminėjimai: {}",)),
    "lv": Phrases("Kamēr jūsu nebija", ("sarunas: {}",), ("jūsu pieminējumi: {}",)),
    "mk": Phrases("Додека ве немаше", ("разговори: {}",), ("спомнувања: {}",)),
    "ms": Phrases("Semasa anda tiada", ("dalam {} perbualan",), ("{} menyebut anda",)),
    "nb": Phrases("Mens du var borte", ("i {} samtale", "i {} samtaler"), ("{} nevner deg",)),
    "nl": Phrases("Terwijl je weg was", ("in {} gesprek", "in {} gesprekken"), ("{} noemt jou", "{} noemen jou")),
    "nn": Phrases("Medan du var borte", ("i {} samtale", "i {} samtalar"), ("{} nemner deg",)),
    "no": Phrases("Mens du var borte", ("i {} samtale", "i {} samtaler"), ("{} nevner deg",)),
    "pl": Phrases("Podczas Twojej nieobecności", ("w {} rozmowie", "w {} rozmowach"), ("wzmianki o Tobie: {}",)),
    "pt": Phrases(
        "Enquanto você esteve fora",
        ("em {} conversa", "em {} conversas"),
        ("{} menciona você", "{} mencionam você"),
    ),
    "ro": Phrases("Cât ai lipsit", ("conversații: {}",), ("te menționează: {}",)),
    "ru": Phrases("Пока вас не было", ("в {} беседе", "в {} беседах"), ("упоминаний о вас: {}",)),
    "sk": Phrases("Kým ste boli preč", ("v {} konverzácii", "v {} konverzáciách"), ("zmienky o vás: {}",)),
    "sl": Phrases("Ko vas ni bilo", ("pogovori: {}",), ("omembe: {}",)),
    "sr": Phrases("Док вас није било", ("у {} разговору", "у {} разговора"), ("помињања: {}",)),
    "sr-latn": Phrases("Dok vas nije bilo", ("u {} razgovoru", "u {} razgovora"), ("pominjanja: {}",)),
    "sv": Phrases("Medan du var borta", ("i {} konversation", "i {} konversationer"), ("{} nämner dig",)),
    "th": Phrases("ระหว่างที่คุณไม่อยู่", ("ใน {} การสนทนา",), ("กล่าวถึงคุณ {} ข้อความ",)),
    "tr": Phrases("Siz yokken", ("{} sohbette",), ("{} mesajda sizden söz ediliyor",)),
    "uk": Phrases("Поки вас не було", ("розмов: {}",), ("згадок про вас: {}",)),
    "ur": Phrases("آپ کی غیر موجودگی میں", ("گفتگو: {}",), ("آپ کا ذکر: {}",)),
    "vi": Phrases("Khi bạn vắng mặt", ("trong {} cuộc trò chuyện",), ("{} tin nhắc đến bạn",)),
    "zh": Phrases("您不在时", ("来自 {} 个会话",), ("{} 条提到您",)),
    "zh-hant": Phrases("您不在時", ("來自 {} 個對話",), ("{} 則提到您",)),
    "zh-hk": Phrases("您不在時", ("來自 {} 個對話",), ("{} 則提到您",)),
    "zh-mo": Phrases("您不在時", ("來自 {} 個對話",), ("{} 則提到您",)),
    "zh-tw": Phrases("您不在時", ("來自 {} 個對話",), ("{} 則提到您",)),
}


def digest_title(locale: str | None) -> str:
    return PHRASES[_language(locale)].title


def digest_phrase(digest: Digest, locale: str | None) -> str:
    """`12 new messages in 4 conversations, 3 mention you`; in English where the language is not known."""
    language = _language(locale)
    _, conversations, mentions = PHRASES[language]
    text = _counted(digest.messages, MESSAGES[language], language, plus=digest.more)
    if len(digest.channels) > 1:
        number = _counted(len(digest.channels), conversations, language)
        # What is no part of the sentence names what it counts.
        text += f"; {number}" if ": " in conversations[0] or ": " in text else f" {number}"
    return f"{text}, {_counted(digest.mentions, mentions, language)}" if digest.mentions else text


def _language(locale: str | None) -> str:
    return next((one for one in fallbacks(locale) if one in PHRASES), "en")


def _counted(number: int, forms: tuple[str, ...], language: str, *, plus: bool = False) -> str:
    return plural(number, forms, language).format(f"{number}+" if plus else number)
