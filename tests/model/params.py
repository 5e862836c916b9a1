"""Index parameters: the JSON object under `params` becomes entries of their own, each value as it is spelt."""
import json
import re

from wire import Bad

JSON_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.S)
BLANKS = " \t\r\n"


def unfold_params(pairs):
    """[(key, value)] with `params` unfolded, sorted by key; entries with one key stay in their order."""
    unfolded = []
    for key, value in pairs:
        unfolded += unfold_json_object(value) if key == "params" else [(key, value)]
    return sorted(unfolded, key=lambda pair: pair[0].encode("utf-8"))


def user_params(pairs, is_vector):
    """[(key, value)] as clients from 2.2 on send them."""
    if not is_vector and [key for key, _ in pairs] == ["index_type"]:
        return []
    return [(key, without_blanks(value) if key == "params" else value) for key, value in pairs]


def without_blanks(text):
    """What json.dumps wrote, as it would be written compactly. What somebody else wrote stays."""
    value = json.loads(text)
    return json.dumps(value, separators=(",", ":")) if json.dumps(value) == text else text


def unfold_json_object(text):
    """[(key, value)] in the order of the text. Strings lose their quotes, every other value is cut out as it stands."""
    check_json_object(text)
    entries = []
    decoder = json.JSONDecoder()
    at = skip_blanks(text, text.index("{") + 1)
    while text[at] != "}":
        if text[at] == ",":
            at = skip_blanks(text, at + 1)
        key, at = decoder.raw_decode(text, at)
        colon = skip_blanks(text, at)
        start = skip_blanks(text, colon + 1)
        value, end = decoder.raw_decode(text, start)
        spelling = value if isinstance(value, str) else text[start:end]
        check_unicode(key + spelling)
        entries.append((key, spelling))
        at = skip_blanks(text, end)
    return entries


def check_json_object(text):
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        raise Bad(f"params is not JSON: {text!r}") from None
    if not isinstance(parsed, dict):
        raise Bad(f"params is not a JSON object: {text!r}")
    # Python takes these, JSON does not.
    if re.search(r"\b(NaN|Infinity)\b", JSON_STRING.sub('""', text)):
        raise Bad(f"params is not JSON: {text!r}")


def check_unicode(text):
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise Bad(f"params holds half of a surrogate pair: {text!r}") from None


def skip_blanks(text, at):
    while text[at] in BLANKS:
        at += 1
    return at
