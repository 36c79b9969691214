"""Card numbers refused inside PostgreSQL: the check of `collection.card_numbers` in PL/pgSQL, for what people type.

Found are numbers in one piece, in fours, as 4-6-5 and 4-6-4, with spaces, line breaks, dashes, dots and the like
between, always of one kind, in ASCII or full-width digits. `collection.card_numbers.find` finds more: pairs and
singles, digits of other scripts, escapes. What it says of an ordinary way to write a card or a look-alike is said here
too; a test holds both to one list.
"""

from __future__ import annotations

from typing import Final

from kept.controls.collection.card_numbers import issuers

ISSUERS: Final = (
    "CREATE TABLE kept.issuers (low integer NOT NULL, high integer NOT NULL, lengths integer[] NOT NULL, "
    "spaced boolean NOT NULL);\nINSERT INTO kept.issuers VALUES\n  "
    + ",\n  ".join(
        f"({low}, {high}, '{{{','.join(map(str, one.lengths))}}}', {str(one.spaced).lower()})"
        for one in issuers.ISSUERS
        for low, high in (
            (int(part.partition("-")[0].ljust(8, "0")), int((part.partition("-")[2] or part).ljust(8, "9")))
            for part in one.starts.split()
        )
    )
    + ";"
)

FUNCTION: Final = r"""CREATE FUNCTION kept.is_card_number(digits text, grouped boolean) RETURNS boolean
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $card$
DECLARE sum integer := 0; d integer;
BEGIN
  IF length(digits) NOT BETWEEN 12 AND 19 THEN RETURN false; END IF;
  FOR i IN 1 .. length(digits) LOOP  -- Luhn, from the right
    d := substr(digits, length(digits) - i + 1, 1)::integer;
    IF i % 2 = 0 THEN d := d * 2; IF d > 9 THEN d := d - 9; END IF; END IF;
    sum := sum + d;
  END LOOP;
  RETURN sum % 10 = 0 AND EXISTS (SELECT FROM kept.issuers
    WHERE left(digits, 8)::integer BETWEEN low AND high AND length(digits) = ANY (lengths) AND (grouped OR NOT spaced));
END $card$;
CREATE FUNCTION kept.is_iban(written text) RETURNS boolean
  LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $iban$
DECLARE flat text := upper(replace(written, ' ', '')); rest integer := 0; c text;
BEGIN
  IF length(flat) NOT BETWEEN 15 AND 34 THEN RETURN false; END IF;
  FOREACH c IN ARRAY string_to_array(substr(flat, 5) || left(flat, 4), NULL) LOOP
    rest := CASE WHEN c BETWEEN '0' AND '9' THEN (rest * 10 + c::integer) % 97
                 ELSE (rest * 100 + ascii(c) - 55) % 97 END;
  END LOOP;
  RETURN rest = 1;
END $iban$;
CREATE FUNCTION kept.has_card_number(given text) RETURNS boolean
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $has$
DECLARE plain text; found text[]; digits text[]; cards integer; at integer; written text;
BEGIN
  IF given !~ '[0-9０-９].*[0-9０-９]' OR length(given) < 12 THEN RETURN false; END IF;
  plain := translate(given, '０１２３４５６７８９', '0123456789');
  plain := regexp_replace(plain, U&'[\200B-\200F\2060\FEFF\00AD]', '', 'g');
  plain := regexp_replace(plain, U&'[\00A0\1680\2000-\200A\2028\2029\202F\205F\3000]', ' ', 'g');
  IF length(regexp_replace(plain, '[^0-9]', '', 'g')) < 12 THEN RETURN false; END IF;
  -- what looks like one and is none: a UUID, a digest, an IBAN
  plain := regexp_replace(plain, '\m[0-9A-Fa-f]{8}-([0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}\M', ' # ', 'g');
  FOR found IN SELECT regexp_matches(plain, '(?:[0-9a-f]{24,129}|[0-9A-F]{24,129})', 'g') LOOP
    IF found[1] ~ '[A-Fa-f]' AND length(found[1]) IN (24, 32, 40, 48, 56, 64, 96, 128) THEN
      plain := replace(plain, found[1], ' # ');
    END IF;
  END LOOP;
  FOR found IN SELECT regexp_matches(plain,
      '\m([A-Za-z]{2}[0-9]{2}(?: ?[A-Za-z0-9]{4}){2,7}(?: ?[A-Za-z0-9]{1,4})?)\M', 'g') LOOP
    written := found[1];
    WHILE written <> '' LOOP
      IF kept.is_iban(written) THEN plain := replace(plain, written, ' # '); EXIT; END IF;
      written := CASE WHEN position(' ' IN written) > 0 THEN regexp_replace(written, ' [^ ]*$', '') ELSE '' END;
    END LOOP;
  END LOOP;
  -- in one piece; not the fraction of a decimal number, not a telephone number after a plus
  plain := regexp_replace(plain, '[0-9][.][0-9]{12,}(?![0-9])', ' # ', 'g');
  FOR found IN SELECT regexp_matches(plain, '(?<![0-9])([+]?)([0-9]{12,19})(?![0-9])', 'g') LOOP
    IF NOT (found[1] = '+' AND length(found[2]) <= 13) AND kept.is_card_number(found[2], false) THEN
      RETURN true;
    END IF;
  END LOOP;
  -- American Express and Diners Club: 4-6-5 and 4-6-4
  FOR found IN SELECT regexp_matches(plain,
      '(?<![0-9])([0-9]{4})(\s{1,32}|\s{0,8}[-‐‑‒–—−]\s{0,8}|[._/+·])([0-9]{6})'
      || '(\s{1,32}|\s{0,8}[-‐‑‒–—−]\s{0,8}|[._/+·])([0-9]{4,5})(?![0-9])', 'g') LOOP
    IF btrim(found[2]) = btrim(found[4]) AND kept.is_card_number(found[1] || found[3] || found[5], true) THEN
      RETURN true;
    END IF;
  END LOOP;
  -- in fours: a row of groups with one kind of separator; two groups beside each card may be something else
  FOR found IN SELECT regexp_matches(plain,
        '(?<![0-9])([0-9]{4}(?:' || sep || '[0-9]{4}){2,}(?:' || sep || '[0-9]{1,3})?)(?![0-9])', 'g')
      FROM unnest(ARRAY['\s{1,32}', '\s{0,8}[-‐‑‒–—−]\s{0,8}', '[.]', '_', '/', '[+]', '·']) AS sep LOOP
    digits := regexp_split_to_array(found[1], '[^0-9]+');
    cards := 0; at := 1;
    WHILE at <= cardinality(digits) LOOP
      IF at + 3 <= cardinality(digits) AND length(digits[at + 3]) = 4
          AND at + 4 = cardinality(digits) AND length(digits[at + 4]) < 4
          AND kept.is_card_number(array_to_string(digits[at : at + 4], ''), true) THEN
        cards := cards + 1; at := at + 5;
      ELSIF at + 3 <= cardinality(digits)
          AND kept.is_card_number(array_to_string(digits[at : at + 3], ''), true) THEN
        cards := cards + 1; at := at + 4;
      ELSE at := at + 1;
      END IF;
    END LOOP;
    IF cards > 0 AND cardinality(digits) - 4 * cards <= 2 * cards THEN RETURN true; END IF;
    IF cardinality(digits) = 3 AND kept.is_card_number(array_to_string(digits, ''), true) THEN RETURN true; END IF;
  END LOOP;
  RETURN false;
END $has$;"""

TRIGGER: Final = """CREATE FUNCTION kept.refuse_card_numbers() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $refuse$
DECLARE row jsonb := to_jsonb(NEW); name text;
BEGIN
  FOREACH name IN ARRAY TG_ARGV LOOP
    IF kept.has_card_number(row ->> name) THEN
      RAISE EXCEPTION '%.% may hold no card number', TG_TABLE_NAME, name USING ERRCODE = 'check_violation';
    END IF;
  END LOOP;
  RETURN NEW;
END $refuse$;
REVOKE EXECUTE ON FUNCTION kept.is_card_number, kept.is_iban, kept.has_card_number, kept.refuse_card_numbers
  FROM PUBLIC;"""
