"""What the notifications of a call say, in the device's language."""

from typing import Final, Literal, NamedTuple

from worker.core.templates import fallbacks

Said = Literal["audio", "video", "missed", "answered", "declined", "over"]


class Phrases(NamedTuple):
    """One language. The caller's name is the title, so no sentence has a name in it."""

    audio: str
    video: str
    missed: str
    answered: str
    declined: str
    over: str


PHRASES: Final[dict[str, Phrases]] = {
    "da": Phrases(
        "Indgående opkald",
        "Indgående videoopkald",
        "Ubesvaret opkald",
        "Besvaret på en anden enhed",
        "Afvist på en anden enhed",
        "Opkaldet er slut",
    ),
    "de": Phrases(
        "Eingehender Anruf",
        "Eingehender Videoanruf",
        "Verpasster Anruf",
        "Auf einem anderen Gerät angenommen",
        "Auf einem anderen Gerät abgelehnt",
        "Anruf beendet",
    ),
    "en": Phrases(
        "Incoming call",
        "Incoming video call",
        "Missed call",
        "Answered on another device",
        "Declined on another device",
        "Call ended",
    ),
    "es": Phrases(
        "Llamada entrante",
        "Videollamada entrante",
        "Llamada perdida",
        "Respondida en otro dispositivo",
        "Rechazada en otro dispositivo",
        "Llamada finalizada",
    ),
    "fr": Phrases(
        "Appel entrant",
        "Appel vidéo entrant",
        "Appel manqué",
        "Accepté sur un autre appareil",
        "Refusé sur un autre appareil",
        "Appel terminé",
    ),
    "it": Phrases(
        "Chiamata in arrivo",
        "Videochiamata in arrivo",
        "Chiamata persa",
        "Risposta su un altro dispositivo",
        "Rifiutata su un altro dispositivo",
        "Chiamata terminata",
    ),
    "nl": Phrases(
        "Inkomende oproep",
        "Inkomende video-oproep",
        "Gemiste oproep",
        "Beantwoord op een ander apparaat",
        "Geweigerd op een ander apparaat",
        "Oproep beëindigd",
    ),
    "pt": Phrases(
        "Chamada recebida",
        "Videochamada recebida",
        "Chamada perdida",
        "Atendida em outro dispositivo",
        "Recusada em outro dispositivo",
        "Chamada encerrada",
    ),
    "sv": Phrases(
        "Inkommande samtal",
        "Inkommande videosamtal",
        "Missat samtal",
        "Besvarat på en annan enhet",
        "Avvisat på en annan enhet",
        "Samtalet avslutades",
    ),
}


def call_phrase(said: Said, locale: str | None) -> str:
    """`Verpasster Anruf` for `de-AT`; in English where the language is not known."""
    language = next((one for one in fallbacks(locale) if one in PHRASES), "en")
    phrase: str = getattr(PHRASES[language], said)
    return phrase
