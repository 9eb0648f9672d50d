"""Requests for what lets somebody in: passwords, keys, codes, recovery phrases, card numbers."""

from collections.abc import Iterator
from typing import Final

from agentops.guardrails.detectors.lexicon import LEXICON, UNSPACED
from agentops.guardrails.detectors.matching import Rule, any_of, words_of
from agentops.guardrails.score import Family

_THING: Final = (
    r"(?:pass(?:word|code|phrase)s?|api[ _-]?keys?|access[ _-]?(?:key|token)s?|secret[ _-]?(?:key|token)s?|auth(?:entication|orization)?[ _-]?(?:token|code)s?|bearer tokens?|session (?:cookie|token|id)s?|private keys?|ssh keys?|credentials?|login (?:details|data|information)"
    r"|(?:one[ -]time|verification|security|2fa|mfa|otp|sms|confirmation|authenticator) (?:pass)?codes?|\botps?\b|seed phrases?|recovery (?:phrase|code|key)s?|mnemonic|pin (?:code|number)?|credit card (?:number|details)?|card numbers?|cvv2?|social security numbers?|ssn|bank (?:account )?(?:details|credentials|password)|environment variables?|\.env\b|id_rsa|\.aws/credentials|/etc/(?:passwd|shadow)|connection strings?)"
)
_ASK: Final = r"(?:send|provide|enter|give|share|tell|supply|submit|confirm|type|reply with|respond with|email|forward|post|disclose|reveal|hand over|include|paste|upload|transmit|verify|input|print|output|read|retrieve|fetch|collect|extract|gather|look up|find|cat|dump|list|copy|exfiltrate|leak|get)"
_WORDS: Final = (
    *(
        "password",
        "passcode",
        "passphrase",
        "api key",
        "api-key",
        "api_key",
        "apikey",
        "access key",
        "access token",
        "secret key",
        "auth token",
        "authentication",
    ),
    *(
        "bearer token",
        "session cookie",
        "session token",
        "private key",
        "ssh key",
        "credential",
        "login details",
        "login data",
        "login information",
        "one-time",
        "one time",
    ),
    *(
        "verification code",
        "security code",
        "2fa",
        "mfa",
        "otp",
        "confirmation code",
        "seed phrase",
        "recovery ",
        "mnemonic",
        "pin code",
        "pin number",
        "credit card",
    ),
    *(
        "card number",
        "cvv",
        "social security",
        "ssn",
        "bank account",
        "bank details",
        "environment variable",
        ".env",
        "id_rsa",
        ".aws/credentials",
        "/etc/passwd",
        "/etc/shadow",
    ),
    *("connection string", "access_token", "secret_key", "sms code", "authenticator"),
)

_FOREIGN: Final = {
    "es": (
        "contraseña|clave de acceso|clave api|clave de api|código de verificación|tarjeta de crédito|credenciales|frase semilla",
        "envía|envíe|proporcion|introduzca|ingresa|ingrese|comparte|facilita|dime|indica|confirma|responda con|responde con|reenvía|manda|revela",
    ),
    "fr": (
        "mot de passe|clé api|clé d'api|code de vérification|carte bancaire|carte de crédit|identifiants|phrase de récupération|code de sécurité",
        "envoie|envoyez|fournis|saisissez|entrez|communiqu|donne|partage|confirmez|indiquez|transmet|répondez avec|révèle",
    ),
    "de": (
        "passwort|kennwort|api-schlüssel|zugangsdaten|bestätigungscode|kreditkarte|anmeldedaten|sicherheitscode|wiederherstellungsphrase",
        "sende|senden sie|schicke|geben sie|gib |teile|nenne|nennen sie|bestätigen sie|übermittle|antworten sie mit|leite|verrate",
    ),
    "it": (
        "password|parola d'ordine|chiave api|codice di verifica|carta di credito|credenziali|frase di recupero|codice di sicurezza",
        "invia|fornisc|inserisc|comunica|condivid|conferma|dammi|rispondi con|inoltra|rivela",
    ),
    "pt": (
        "senha|palavra-passe|chave de api|chave da api|código de verificação|cartão de crédito|credenciais|frase de recuperação",
        "envie|forneça|digite|insira|informe|compartilhe|confirme|responda com|encaminhe|revele|mande",
    ),
    "nl": (
        "wachtwoord|api-sleutel|verificatiecode|creditcard|inloggegevens|herstelzin|beveiligingscode",
        "stuur|geef|voer|deel|bevestig|antwoord met|verstrek|doorsturen|onthul",
    ),
    "pl": (
        "hasło|hasła|klucz api|kod weryfikacyjny|karty kredytowej|dane logowania|fraza odzyskiwania|kod bezpieczeństwa",
        "wyślij|podaj|wpisz|przekaż|udostępnij|potwierdź|odpowiedz|prześlij|ujawnij",
    ),
    "tr": (
        "şifre|parola|api anahtar|doğrulama kod|kredi kart|giriş bilgi|kurtarma",
        "gönder|girin|paylaş|ver |verin|onayla|bildir|ilet|açıkla|yanıtla",
    ),
    "ru": (
        "пароль|пароля|ключ api|api-ключ|код подтверждения|кредитной карты|номер карты|учетные данные|учётные данные|секретную фразу|логин",
        "отправь|отправьте|введите|укажите|сообщите|сообщи|предоставьте|пришлите|пришли|подтвердите|назовите|перешли|передай",
    ),
    "uk": (
        "пароль|ключ api|код підтвердження|кредитної картки|номер картки|облікові дані",
        "надішли|введіть|вкажіть|повідом|надайте|підтвердіть|перешли|передай",
    ),
    "vi": (
        "mật khẩu|khóa api|mã xác minh|mã otp|thẻ tín dụng|thông tin đăng nhập",
        "gửi|cung cấp|nhập|chia sẻ|cho tôi biết|xác nhận|trả lời bằng|tiết lộ",
    ),
    "id": (
        "kata sandi|kunci api|kode verifikasi|kode otp|kartu kredit|kredensial|password",
        "kirim|berikan|masukkan|bagikan|beri tahu|konfirmasi|balas dengan|ungkapkan",
    ),
    "ar": (
        "كلمة المرور|كلمة السر|مفتاح api|رمز التحقق|بطاقة الائتمان|بيانات الاعتماد|بيانات الدخول",
        "أرسل|ارسل|أدخل|قدم|شارك|أعط|أكد|زودنا|اكشف",
    ),
    "hi": ("पासवर्ड|एपीआई कुंजी|सत्यापन कोड|ओटीपी|क्रेडिट कार्ड|क्रेडेंशियल", "भेज|दर्ज|प्रदान|साझा|बता|पुष्टि|दें"),
    "zh": (
        "密码|密碼|口令|验证码|驗證碼|api密钥|api 密钥|密钥|信用卡|登录凭证|助记词|凭据|银行卡",
        "发送|提供|输入|告诉|分享|确认|回复|提交|转发|發送|輸入|泄露",
    ),
    "ja": (
        "パスワード|apiキー|認証コード|確認コード|クレジットカード|ログイン情報|認証情報|暗証番号",
        "送信|送って|入力|教え|提供|共有|返信|転送|記入",
    ),
    "ko": (
        "비밀번호|패스워드|api 키|인증번호|인증 코드|신용카드|로그인 정보|자격 증명",
        "보내|입력|제공|알려|공유|회신|전송|확인",
    ),
}

_TYPED: Final = frozenset(
    [
        "introduzca",
        "ingresa",
        "ingrese",
        "indica",
        "confirma",
        "saisissez",
        "entrez",
        "confirmez",
        "indiquez",
        "geben sie",
        "gib ",
        "bestätigen sie",
        "inserisc",
        "conferma",
        "digite",
        "insira",
        "informe",
        "confirme",
        "voer",
        "geef",
        "bevestig",
        "wpisz",
        "podaj",
        "potwierdź",
        "girin",
        "ver ",
        "verin",
        "onayla",
        "bildir",
        "введите",
        "укажите",
        "подтвердите",
        "введіть",
        "вкажіть",
        "підтвердіть",
        "nhập",
        "xác nhận",
        "masukkan",
        "konfirmasi",
        "أدخل",
        "أكد",
        "दर्ज",
        "पुष्टि",
        "दें",
        "输入",
        "輸入",
        "确认",
        "提供",
        "提交",
        "入力",
        "記入",
        "提供",
        "입력",
        "확인",
        "제공",
    ]
)
"""Asking somebody to type a secret is what every sign-in page does."""


def rules() -> tuple[Rule, ...]:
    """Return the rules of this family."""
    return tuple(_rules())


def _rules() -> Iterator[Rule]:
    f = Family.CREDENTIALS
    yield Rule(
        f,
        "credential_request",
        0.35,
        _WORDS,
        rf"\b{_ASK}\b(?:[\s'’]+(?:me|us|your|the|their|his|her|all|any|every|user'?s?|its|our|back|with|in|for|of|from|current|full|saved|stored|and|to|email|username|login|name|this|admin|account|it|out|up|contents|address|bank|new)){{0,8}}?[\s'’]+{_THING}",
        "Asks for a password, a key or a code",
        120,
        120,
    )
    yield Rule(
        f,
        "credential_sent",
        0.6,
        _WORDS,
        rf"\b(?:reply|respond|answer|write back|email us|message us)\b[^.\n]{{0,30}}?\bwith\b[^.\n]{{0,60}}?{_THING}|\b(?:send|forward|email|post|transmit|upload|submit|exfiltrate|leak|share|reply|disclose|reveal|include|append|copy)\b(?:\W+[\w'’]+){{0,10}}?\W+{_THING}(?:\W+[\w'’]+){{0,14}}?\W+(?:to|at|via|in|into|with)\b(?:\W+[\w'’]+){{0,4}}?\W+(?:[\w.+-]{{1,64}}@[\w-]+\.\w|https?://|www\.|this (?:number|address|email|chat)|us\b|me\b)",
        "Asks to send a password, a key or a code somewhere",
        160,
        320,
    )
    yield Rule(
        f,
        "credential_lure",
        0.4,
        (
            "verify your",
            "confirm your",
            "account will be",
            "account has been",
            "suspended",
            "session expired",
            "session has expired",
            "log in again",
            "sign in again",
            "re-enter",
            "reauthenticate",
            "re-authenticate",
            "unlock your",
        ),
        rf"(?:\b(?:session|account|access|login)\b(?:\W+\w+){{0,4}}?\W+(?:expired?|suspended|locked|limited|terminated|deactivated|compromised|blocked)\b(?:[^\n]){{0,200}}?\b(?:enter|verify|confirm|provide|re-?enter|log ?in|sign ?in|click|submit)\b[^\n]{{0,120}}?(?:{_THING}|account|identity|https?://)|\b(?:verify|confirm|re-?enter|update) your (?:\w+ ){{0,3}}?(?:{_THING}|identity|account (?:details|information)))",
        "Presses somebody to sign in or confirm who they are",
        160,
        420,
    )
    for language, words in LEXICON.items():
        if language in _FOREIGN:
            spaced = language not in UNSPACED
            thing, send = any_of(_FOREIGN[language][0], spaced=spaced), any_of(words.send, spaced=spaced)
            send = f"{send}(?:[^dt]|$)" if spaced else f"(?:^|[^已被]){send}"  # no participle
            yield Rule(
                f,
                "credential_sent",
                0.55,
                words_of(_FOREIGN[language][0]),
                f"(?:{send}[^.!?\\n。！？]{{0,50}}?{thing}|{thing}[^.!?\\n。！？]{{0,40}}?{send})",
                "Asks to send a password, a key or a code",
                100,
                120,
                language=language,
            )
    for language, (things, asks) in _FOREIGN.items():
        spaced = language not in UNSPACED
        thing = any_of(things, spaced=spaced)
        typed = [ask for ask in asks.split("|") if ask in _TYPED]
        other = [ask for ask in asks.split("|") if ask not in _TYPED]
        for code, weight, stems in (("credential_request", 0.4, other), ("credential_typed", 0.2, typed)):
            if not stems:
                continue
            ask = any_of("|".join(stems), spaced=spaced)
            yield Rule(
                f,
                code,
                weight,
                words_of(things),
                f"(?:{ask}[^.!?\\n。！？]{{0,40}}?{thing}|{thing}[^.!?\\n。！？]{{0,30}}?{ask})",
                "Asks for a password, a key or a code",
                80,
                100,
                language=language,
            )
