"""What a folded burst says, in the device's language: how many messages are new."""

from typing import Final

from worker.core.plurals import plural
from worker.core.templates import fallbacks

#: By language: the forms that `plural` chooses from; one alone where the noun does not change, or stands apart from the number.
PHRASES: Final[dict[str, tuple[str, ...]]] = {
    "af": ("{} nuwe boodskap", "{} nuwe boodskappe"),
    "ar": ("رسائل جديدة: {}",),
    "az": ("{} yeni mesaj",),
    "be": ("{} новае паведамленне", "{} новыя паведамленні", "{} новых паведамленняў"),
    "bg": ("{} ново съобщение", "{} нови съобщения"),
    "bn": ("{}টি নতুন বার্তা",),
    "bs": ("{} nova poruka", "{} nove poruke", "{} novih poruka"),
    "ca": ("{} missatge nou", "{} missatges nous"),
    "cs": ("{} nová zpráva", "{} nové zprávy", "{} nových zpráv"),
    "da": ("{} ny besked", "{} nye beskeder"),
    "de": ("{} neue Nachricht", "{} neue Nachrichten"),
    "el": ("{} νέο μήνυμα", "{} νέα μηνύματα"),
    "en": ("{} new message", "{} new messages"),
    "es": ("{} mensaje nuevo", "{} mensajes nuevos"),
    "et": ("{} uus sõnum", "{} uut sõnumit"),
    "fa": ("{} پیام جدید",),
    "fi": ("{} uusi viesti", "{} uutta viestiä"),
    "fil": ("{} bagong mensahe",),
    "fr": ("{} nouveau message", "{} nouveaux messages"),
    "gl": ("{} mensaxe nova", "{} mensaxes novas"),
    "he": ("הודעות חדשות: {}",),
    "hi": ("{} नए संदेश",),
    "hr": ("{} nova poruka", "{} nove poruke", "{} novih poruka"),
    "hu": ("{} új üzenet",),
    "hy": ("{} նոր հաղորդագրություն",),
    "id": ("{} pesan baru",),
    "it": ("{} nuovo messaggio", "{} nuovi messaggi"),
    "ja": ("新着メッセージ {}件",),
    "ka": ("{} ახალი შეტყობინება",),
    "ko": ("새 메시지 {}개",),
    "lt": ("Naujos žinutės: {}",),
    "lv": ("Jaunas ziņas: {}",),
    "mk": ("Нови пораки: {}",),
    "ms": ("{} mesej baharu",),
    "nb": ("{} ny melding", "{} nye meldinger"),
    "nl": ("{} nieuw bericht", "{} nieuwe berichten"),
    "nn": ("{} ny melding", "{} nye meldingar"),
    "no": ("{} ny melding", "{} nye meldinger"),
    "pl": ("{} nowa wiadomość", "{} nowe wiadomości", "{} nowych wiadomości"),
    "pt": ("{} nova mensagem", "{} novas mensagens"),
    "ro": ("Mesaje noi: {}",),
    "ru": ("{} новое сообщение", "{} новых сообщения", "{} новых сообщений"),
    "sk": ("{} nová správa", "{} nové správy", "{} nových správ"),
    "sl": ("Nova sporočila: {}",),
    "sr": ("{} нова порука", "{} нове поруке", "{} нових порука"),
    "sr-latn": ("{} nova poruka", "{} nove poruke", "{} novih poruka"),
    "sv": ("{} nytt meddelande", "{} nya meddelanden"),
    "th": ("ข้อความใหม่ {} ข้อความ",),
    "tr": ("{} yeni mesaj",),
    "uk": ("{} нове повідомлення", "{} нові повідомлення", "{} нових повідомлень"),
    "ur": ("نئے پیغامات: {}",),
    "vi": ("{} tin nhắn mới",),
    "zh": ("{} 条新消息",),
    "zh-hant": ("{} 則新訊息",),
    "zh-hk": ("{} 則新訊息",),
    "zh-mo": ("{} 則新訊息",),
    "zh-tw": ("{} 則新訊息",),
}


def burst_phrase(count: int, locale: str | None) -> str:
    """`6 neue Nachrichten` for `de-AT`; in English where the language is not known."""
    language = next((one for one in fallbacks(locale) if one in PHRASES), "en")
    return plural(count, PHRASES[language], language).format(count)
