"""Which right an e-mail seems to use: a suggestion for staff, never acted on by itself."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

LOOKED: Final = 5000  # characters: people say what they want at the beginning

# By language and right: words that hardly ever stand in a mail that wants something else.
_SAID: Final[dict[str, dict[str, str]]] = {
    "en": {
        "access": r"subject access request|\bdsar\b"
        r"|copy of (?:all )?(?:my|the) (?:personal )?(?:data|information)"
        r"|(?:what|which) (?:personal )?(?:data|information) (?:do )?you (?:have|hold|store|keep)"
        r"|right of access|right to know",
        "erase": r"(?:delete|erase|remove|wipe) (?:all |of |any )*(?:my|me|the) ?(?:personal )?(?:data"
        r"|information|account|profile|details|records)?"
        r"|right to (?:be forgotten|erasure|deletion)",
        "correct": r"(?:correct|rectify|fix|update) (?:my|the) (?:\w+ ){0,3}(?:data|information|name"
        r"|address|details|e-?mail|record)"
        r"|right to (?:rectification|correct)",
        "export": r"data portability|right to portability|machine[- ]readable"
        r"|export (?:of )?(?:all )?my (?:personal )?data|transfer my data",
        "restrict": r"restrict (?:the )?(?:processing|use)|restriction of processing|limit the use of my",
        "object": r"\bi (?:hereby )?object\b|right to object|stop (?:sending|using my|processing my)"
        r"|opt(?:ing)?[- ]out|do not sell|unsubscribe",
        "withdraw": r"(?:withdraw|revoke) (?:my|the) consent|withdrawal of consent",
        "complain": r"(?:make|file|lodge) a complaint|formal complaint|i (?:want|wish|would like) to complain",
        "human-decision": r"automated decision|human (?:review|intervention)"
        r"|decided by (?:a|an) (?:machine|algorithm|computer)",
    },
    "de": {
        "access": r"auskunft|welche (?:personenbezogenen )?daten (?:sie )?(?:über|von|zu)"
        r"|kopie (?:all )?meiner (?:personenbezogenen )?daten",
        "erase": r"(?:daten|konto|profil|account|alles)\b.{0,60}\b(?:löschen|gelöscht|löscht)"
        r"|lösch(?:en|t|ung) (?:sie )?(?:bitte )?(?:all(?:e|er) )?(?:mein|meine[nr]?|der|von) "
        r"|recht auf (?:löschung|vergessenwerden)",
        "correct": r"berichtig|(?:daten|name|adresse|anschrift)\b.{0,60}\b(?:korrigieren|ändern|falsch)",
        "export": r"datenübertragbarkeit|maschinenlesbar|daten (?:zu )?(?:exportieren|mitnehmen)",
        "restrict": r"einschränkung der verarbeitung|verarbeitung\b.{0,60}\beinschränken|daten sperren",
        "object": r"widerspr(?:eche|uch)|keine werbung|vom newsletter abmelden",
        "withdraw": r"einwilligung\b.{0,60}\b(?:widerruf|zurück)"
        r"|widerruf(?:e)? (?:hiermit )?meine einwilligung",
        "complain": r"beschwerde|beschweren",
        "human-decision": r"automatisierte (?:einzel)?entscheidung|von einem menschen (?:über)?prüf",
    },
    "fr": {
        "access": r"droit d['’]acc[èe]s|acc[èe]s à mes données|copie de (?:toutes )?mes données"
        r"|quelles données",
        "erase": r"(?:supprim|effac)\w*.{0,40}(?:données|compte|profil|informations)"
        r"|droit à l['’](?:effacement|oubli)",
        "correct": r"rectifi|corrig\w*.{0,40}(?:données|nom|adresse|informations)",
        "export": r"portabilité|lisible par machine|export\w* (?:de )?mes données",
        "restrict": r"limit\w+ (?:du|le) traitement",
        "object": r"m['’]oppose|droit d['’]opposition|désabonn|désinscri",
        "withdraw": r"retir\w* (?:mon|le) consentement|retrait d[ue] (?:mon )?consentement",
        "complain": r"\bplainte\b|réclamation",
        "human-decision": r"décision automatisée|intervention humaine",
    },
    "nl": {
        "access": r"inzage|(?:welke|kopie van (?:al )?mijn) (?:persoons)?gegevens",
        "erase": r"(?:gegevens|account|profiel)\b.{0,60}\b(?:verwijder|wis)\w*"
        r"|(?:verwijder|wis)\w* (?:al )?(?:mijn|van mijn)|vergetelheid",
        "correct": r"rectificatie"
        r"|(?:gegevens|naam|adres)\b.{0,60}\b(?:corrigeren|aanpassen|verbeteren|wijzigen)",
        "export": r"overdraagbaarheid|dataportabiliteit|machineleesbaar",
        "restrict": r"beperking van de verwerking|verwerking\b.{0,40}\bbeperken",
        "object": r"maak bezwaar|bezwaar (?:maken|tegen)|afmelden|uitschrijven",
        "withdraw": r"toestemming\b.{0,40}\bin(?:trekken|\b)|trek mijn toestemming"
        r"|intrekking van mijn toestemming",
        "complain": r"\bklacht\b",
        "human-decision": r"geautomatiseerde (?:besluit|beslissing)|menselijke tussenkomst",
    },
    "es": {
        "access": r"derecho de acceso|acceso a mis datos|copia de (?:todos )?mis datos|qué datos",
        "erase": r"(?:elimin|borr|suprim)\w*.{0,40}(?:datos|cuenta|perfil)"
        r"|derecho (?:de|al) (?:supresión|olvido)",
        "correct": r"rectific|corrig\w*.{0,40}(?:datos|nombre|dirección)",
        "export": r"portabilidad|lectura mecánica",
        "restrict": r"limitación del tratamiento|limit\w+ el tratamiento",
        "object": r"me opongo|derecho de oposición|darme de baja",
        "withdraw": r"retir\w* (?:mi|el) consentimiento|revoc\w* (?:mi|el) consentimiento",
        "complain": r"reclamación|\bqueja\b",
        "human-decision": r"decisi(?:ón|ones) automatizadas?|intervención humana",
    },
    "it": {
        "access": r"diritto di accesso|accesso ai miei dati|copia dei miei dati|quali dati",
        "erase": r"(?:cancell|elimin)\w*.{0,40}(?:dati|account|profilo)|diritto all['’]oblio",
        "correct": r"rettific|corregg\w*.{0,40}(?:dati|nome|indirizzo)",
        "export": r"portabilità|leggibile da dispositivo",
        "restrict": r"limitazione del trattamento|limitare il trattamento",
        "object": r"mi oppongo|diritto di opposizione|disiscri",
        "withdraw": r"revoc\w* (?:il|del) (?:mio )?consenso|ritir\w* (?:il|del) (?:mio )?consenso",
        "complain": r"reclamo",
        "human-decision": r"decisione automatizzata|intervento umano",
    },
}
LANGUAGES: Final = tuple(_SAID)
_ARTICLES: Final = {
    "15": "access",
    "16": "correct",
    "17": "erase",
    "18": "restrict",
    "20": "export",
    "21": "object",
    "22": "human-decision",
}
_ARTICLE: Final = re.compile(
    r"\b(?:art(?:icle|ikel|ículo|icolo|\.)?)\s*(1[5678]|2[012])\b[^.\n]{0,20}\b(?:gdpr|dsgvo|ds-gvo|rgpd|avg)\b"
)
_NOT: Final = re.compile(r"\b(?:not|don['’]?t|never|nicht|niemals|kein\w*|nie|niet|geen|pas|no|non)\b")
_PATTERNS: Final = {
    language: {right: re.compile(pattern) for right, pattern in rights.items()}
    for language, rights in _SAID.items()
}


def wish(text: str, languages: Iterable[str] = LANGUAGES) -> str | None:
    """The right a text seems to use, or None when it names none, several, or says "not" beside it.

    `languages`: those the company's people write in (`en de fr nl es it` are known; others are passed over). Lines
    quoted from an earlier mail (`>`) don't count. An article of the GDPR counts as naming its right in any language.
    """
    own = "\n".join(line for line in text[:LOOKED].splitlines() if not line.lstrip().startswith(">"))
    said = re.sub(r"\s+", " ", own.lower())
    found = {_ARTICLES[match[1]] for match in _ARTICLE.finditer(said) if match[1] in _ARTICLES}
    for language in languages:
        for right, pattern in _PATTERNS.get(language, {}).items():
            for match in pattern.finditer(said):
                if right != "object" and _NOT.search(said[max(0, match.start() - 25) : match.end() + 12]):
                    return None
                found.add(right)
    if found == {"object", "withdraw"}:  # "widerrufe meine Einwilligung und widerspreche": both end the use
        return "withdraw"
    return found.pop() if len(found) == 1 else None
