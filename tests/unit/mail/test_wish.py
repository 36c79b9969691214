"""Which right a mail seems to use; unsure, it says nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kept.mail.wish import LANGUAGES, LOOKED, wish
from kept.policy import words

SAID = {
    "access": [
        "Please send me a copy of all my data.",
        "What personal data do you hold about me?",
        "This is a subject access request under the law.",
        "Ich bitte um Auskunft über meine Daten.",
        "Je souhaite une copie de mes données, s'il vous plaît.",
        "Ik verzoek om inzage in mijn dossier.",
        "Quiero ejercer mi derecho de acceso.",
        "Vorrei avere accesso ai miei dati.",
        "I invoke Article 15 GDPR.",
    ],
    "erase": [
        "Please delete my account.",
        "I want you to erase all my personal data!",
        "Remove me from your systems, please.",
        "Bitte löschen Sie meine Daten.",
        "Ich möchte, dass mein Konto gelöscht wird.",
        "Merci de supprimer mon compte.",
        "Verwijder mijn gegevens alstublieft.",
        "Wilt u mijn account verwijderen?",
        "Por favor eliminen mis datos personales.",
        "Vi chiedo di cancellare i miei dati.",
        "Antrag nach Art. 17 DSGVO",
        "Demande au titre de l'article 17 du RGPD",
    ],
    "correct": [
        "Please correct my address in your files.",
        "Meine Anschrift ist falsch, bitte berichtigen.",
        "Merci de rectifier mon nom.",
        "Ik vraag om rectificatie.",
    ],
    "export": [
        "I want my right to portability.",
        "Ich verlange die Datenübertragbarkeit.",
        "Je demande la portabilité.",
        "Dataportabiliteit graag.",
    ],
    "restrict": ["Please restrict the processing of it.", "Einschränkung der Verarbeitung, bitte."],
    "object": [
        "I object to your profiling.",
        "Please stop sending me these.",
        "Hiermit widerspreche ich der Werbung.",
        "Je m'oppose à cette utilisation.",
        "Ik maak bezwaar.",
        "I do not want this. Opting out!",
    ],
    "withdraw": [
        "I withdraw my consent.",
        "Ich widerrufe hiermit meine Einwilligung.",
        "Je retire mon consentement.",
        "Ik trek mijn toestemming in.",
    ],
    "complain": ["I would like to complain about this.", "Das ist eine Beschwerde.", "Ik heb een klacht."],
    "human-decision": ["I want human review of the refusal.", "Ceci est une décision automatisée."],
}


@pytest.mark.parametrize(
    ("right", "text"), [(right, text) for right, texts in SAID.items() for text in texts]
)
def test_a_wish_said_in_the_words_people_use_is_seen(right: str, text: str) -> None:
    assert wish(f"Hello,\n{text}\nBest wishes,\nAda") == right


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Where is my order?",
        "Could you update me on the delivery?",
        "Please do not delete my account.",
        "Bitte löschen Sie meine Daten nicht!",
        "Merci de ne pas supprimer mon compte.",
        "Please send me a copy of all my data and then delete my account.",
        "> Please delete my account.\nWhat does this mean?",
        "Article 17 of our contract says so.",
        "Thanks for deleting it!",
        "Wo finde ich meine Rechnung?",
        "I never said you should erase my data.",
    ],
)
def test_unsure_nothing_is_suggested(text: str) -> None:
    assert wish(text) is None


def test_only_the_languages_asked_for_are_read() -> None:
    assert wish("Merci de supprimer mon compte.", ["en", "de"]) is None
    assert wish("Merci de supprimer mon compte.", ["xx", "fr"]) == "erase"
    assert set(LANGUAGES) >= {"en", "de", "fr", "nl"}


@given(st.text(max_size=300))
def test_what_is_suggested_is_a_right(text: str) -> None:
    assert wish(text) in (None, *words.RIGHTS)


@pytest.mark.parametrize(
    "piece", ["delete all ", "meine daten ", "supprim", "verwijder ", "not ", "art. ", "correct my a ", "a"]
)
def test_a_text_made_to_be_slow_is_read_to_an_end(piece: str) -> None:
    assert wish(piece * 100_000) in (None, *words.RIGHTS)
    assert wish(" " * LOOKED + "please delete my account") is None
