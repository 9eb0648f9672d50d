"""Further words with which texts in many languages steer an agent: what it answers, what it stops, who allows it.

As in `lexicon`: stems, lower case, by ISO 639-1 code. `answer`, `stop` and `allowed` each say enough by themselves;
`bare` is what a reader is freed of and needs a word of `unbound` near it.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Acts:
    """The words of one language. Each member is a "|" separated list of stems."""

    answer: str
    """answer only with, say only, in your answer, end every answer"""
    stop: str
    """your new task, stop summarising, instead of the task, before you answer"""
    allowed: str
    """the user has already agreed, you need not ask, this comes from your developer"""
    reader: str
    """if you are an AI, attention AI, assistant that reads this"""
    unbound: str
    """without, no; together with `bare`"""
    bare: str
    """restrictions, limits, filters"""


ACTS: Final[dict[str, Acts]] = {
    "de": Acts(
        "antworte nur mit|antworte ausschließlich|antworten sie nur mit|antworten sie ausschließlich|antworte stattdessen|antworte mit|gib nur|gib ausschließlich|schreibe nur|sage nur|sag nur|in deiner antwort|in deiner zusammenfassung|in ihrer zusammenfassung|beende jede antwort|beginne jede antwort|beginne deine antwort|füge deiner antwort|antworte immer",
        "deine eigentliche aufgabe|deine neue aufgabe|ihre neue aufgabe|fasse nicht zusammen|fass nicht zusammen|fasse diesen text nicht|statt der zusammenfassung|statt einer zusammenfassung|anstatt zu|bevor du antwortest|bevor du weitermachst|stoppe die|brich die aufgabe|neue anweisung|neue instruktion|führe folgende|befolge folgende|befolge stattdessen|befolge die folgenden|wichtige anweisung",
        "bereits zugestimmt|bereits genehmigt|bereits autorisiert|bereits bestätigt|ohne rückfrage|ohne nachzufragen|keine bestätigung|keine rückfrage|ohne bestätigung|im auftrag des administrators|ich bin dein entwickler|ich bin der administrator|hier ist dein entwickler|nachricht vom administrator|nachricht des administrators",
        "wenn du eine ki|wenn du ein sprachmodell|falls du eine ki|falls du ein sprachmodell|falls sie eine ki|achtung ki|hinweis für ki|hinweis an ki|hinweis an alle ki|an die ki|an alle ki|an den assistenten|ki-systeme|die ki soll|der assistent soll|der assistent muss|lieber assistent|hallo assistent",
        "ohne|keine|keinerlei|frei von",
        "einschränkung|beschränkung|ethische|moralische|filter|zensur|richtlinien",
    ),
    "es": Acts(
        "responde solo|responde únicamente|responda solo|responda únicamente|contesta solo|contesta únicamente|di solamente|di únicamente|escribe solo|en tu respuesta|en tu resumen|en su resumen|termina cada respuesta|termina tu respuesta|empieza tu respuesta|responde siempre|responde con|incluye en tu",
        "tu nueva tarea|tu verdadera tarea|tu tarea ahora|su nueva tarea|no resumas|no resuma|en lugar de resumir|en vez de resumir|antes de responder|antes de continuar|detén la|deja de resumir|nueva instrucción|nuevas instrucciones|sigue estas instrucciones|siga estas instrucciones|sigue las siguientes|instrucción importante|haz lo siguiente",
        "ya ha aprobado|ya aprobó|ya autorizó|ya ha autorizado|ya ha dado su|ya confirmó|ya ha confirmado|ya aceptó|sin pedir confirmación|sin confirmación|sin preguntar|sin pedir permiso|soy tu desarrollador|soy tu creador|soy el administrador|mensaje del administrador|mensaje de tu desarrollador",
        "si eres una ia|si eres un modelo|si eres un asistente|si usted es una ia|atención ia|atención, ia|nota para la ia|nota para el asistente|aviso para la ia|instrucciones para la ia|instrucciones para el asistente|el asistente debe|la ia debe|querido asistente|estimado asistente|hola asistente",
        "sin|ninguna|ningún|libre de",
        "restriccion|límites|limitaciones|filtros|censura|ética|directrices",
    ),
    "fr": Acts(
        "réponds uniquement|réponds seulement|répondez uniquement|répondez seulement|réponds par|dis seulement|dis simplement|écris uniquement|dans ta réponse|dans ton résumé|dans votre résumé|dans votre réponse|termine chaque réponse|termine ta réponse|commence ta réponse|réponds toujours|affiche uniquement|inclus dans ta|ajoute à ta réponse",
        "ta nouvelle tâche|ta véritable tâche|votre nouvelle tâche|ne résume pas|ne résumez pas|au lieu de résumer|avant de répondre|avant de continuer|arrête de résumer|arrête le traitement|nouvelle instruction|nouvelles instructions|suis ces instructions|suivez ces instructions|suis les instructions suivantes|instruction importante|fais ce qui suit|exécute les",
        "a déjà approuvé|a déjà autorisé|a déjà accepté|a déjà confirmé|a déjà donné|sans demander confirmation|sans confirmation|sans demander|je suis ton développeur|je suis ton créateur|je suis l'administrateur|message de l'administrateur|message de ton développeur",
        "si tu es une ia|si tu es un modèle|si vous êtes une ia|si vous êtes un modèle|si tu es un assistant|attention ia|attention, ia|note à l'ia|note pour l'ia|note à l'assistant|note pour l'assistant|instructions pour l'ia|l'assistant doit|l'ia doit|cher assistant|bonjour assistant",
        "sans|aucune|aucun|libre de",
        "restriction|limites|limitation|filtre|censure|éthique|morale",
    ),
    "it": Acts(
        "rispondi solo|rispondi soltanto|rispondi esclusivamente|risponda solo|rispondi con|dì solo|scrivi solo|stampa solo|nella tua risposta|nel tuo riassunto|nel riassunto|termina ogni risposta|inizia la tua risposta|rispondi sempre|includi nella",
        "il tuo nuovo compito|il tuo vero compito|la tua nuova istruzione|non riassumere|invece di riassumere|anziché riassumere|prima di rispondere|prima di continuare|smetti di|interrompi il|nuova istruzione|nuove istruzioni|segui queste istruzioni|segui le seguenti|istruzione importante|esegui le seguenti|fai quanto segue",
        "ha già approvato|ha già autorizzato|ha già confermato|ha già acconsentito|ha già dato|senza chiedere conferma|senza conferma|senza chiedere|sono il tuo sviluppatore|sono il tuo creatore|sono l'amministratore|messaggio dell'amministratore|messaggio dal tuo sviluppatore",
        "se sei un'ia|se sei un ia|se sei un'intelligenza|se sei un modello|se sei un assistente|attenzione ia|attenzione ai|nota per l'ia|nota per l'assistente|nota per l'ai|istruzioni per l'ia|l'assistente deve|l'ia deve|caro assistente|ciao assistente",
        "senza|nessuna|nessun|libero da",
        "restrizion|limiti|limitazion|filtri|censura|etic",
    ),
    "pt": Acts(
        "responda apenas|responda somente|responde apenas|responde só|responda com|diga apenas|escreva apenas|imprima apenas|na sua resposta|na tua resposta|no seu resumo|no teu resumo|termine cada resposta|termine todas|comece a sua resposta|comece sua resposta|responda sempre|inclua na sua",
        "sua nova tarefa|a tua nova tarefa|sua verdadeira tarefa|não resuma|em vez de resumir|ao invés de resumir|antes de responder|antes de continuar|pare de|interrompa a|nova instrução|novas instruções|siga estas instruções|siga as seguintes|segue estas instruções|instrução importante|faça o seguinte|execute as seguintes",
        "já aprovou|já autorizou|já confirmou|já concordou|já deu|sem pedir confirmação|sem confirmação|sem perguntar|sem pedir permissão|sou o seu desenvolvedor|sou seu desenvolvedor|sou o administrador|sou seu criador|mensagem do administrador|mensagem do desenvolvedor",
        "se você é uma ia|se você for uma ia|se és uma ia|se você é um modelo|se você for um modelo|se você é um assistente|atenção ia|atenção, ia|nota para a ia|nota para o assistente|instruções para a ia|o assistente deve|a ia deve|caro assistente|olá assistente",
        "sem|nenhuma|nenhum|livre de",
        "restriç|limites|limitaç|filtros|censura|étic",
    ),
    "nl": Acts(
        "antwoord alleen|antwoord enkel|antwoord uitsluitend|antwoord met|zeg alleen|schrijf alleen|in je antwoord|in uw antwoord|in je samenvatting|in de samenvatting|eindig elk antwoord|begin je antwoord|antwoord altijd|neem in je antwoord",
        "je nieuwe taak|je echte taak|uw nieuwe taak|vat niet samen|vat dit niet samen|in plaats van samen te vatten|in plaats van de samenvatting|voordat je antwoordt|voordat je verdergaat|stop met|nieuwe instructie|volg deze instructies|volg in plaats daarvan|volg de volgende|belangrijke instructie|voer het volgende uit",
        "heeft al goedgekeurd|heeft dit al goedgekeurd|al toestemming gegeven|al bevestigd|al akkoord|zonder bevestiging|zonder te vragen|zonder toestemming|ik ben je ontwikkelaar|ik ben de beheerder|bericht van de beheerder|bericht van je ontwikkelaar",
        "als je een ai|als u een ai|als je een taalmodel|ben je een ai|let op ai|let op, ai|opmerking voor ai|notitie voor de ai|instructies voor de ai|de assistent moet|de ai moet|beste assistent|hallo assistent",
        "zonder|geen|vrij van",
        "beperking|restrictie|filters|censuur|ethische|grenzen",
    ),
    "pl": Acts(
        "odpowiedz tylko|odpowiadaj tylko|odpowiedz wyłącznie|odpowiadaj wyłącznie|odpowiedz jedynie|napisz tylko|powiedz tylko|wypisz tylko|w swojej odpowiedzi|w swoim podsumowaniu|w podsumowaniu|kończ każdą odpowiedź|zakończ każdą|zacznij odpowiedź|odpowiadaj zawsze|zawsze odpowiadaj",
        "twoje nowe zadanie|twoim nowym zadaniem|twoim prawdziwym zadaniem|nie podsumowuj|nie streszczaj|zamiast podsumowania|zamiast streszczać|zamiast tego|zanim odpowiesz|przed udzieleniem odpowiedzi|przestań|przerwij|nowa instrukcja|nowe instrukcje|wykonaj następujące|wykonaj poniższe|postępuj zgodnie z poniższymi|ważna instrukcja",
        "już zatwierdził|już wyraził zgodę|już potwierdził|już się zgodził|bez pytania|bez potwierdzenia|bez zgody|jestem twoim programistą|jestem twoim twórcą|jestem administratorem|wiadomość od administratora|polecenie administratora",
        "jeśli jesteś sztuczną|jeśli jesteś modelem|jeśli jesteś asystentem|jeżeli jesteś|jeśli jesteś ai|uwaga ai|uwaga, ai|uwaga dla ai|notatka dla ai|informacja dla ai|instrukcje dla ai|asystent musi|asystent powinien|drogi asystencie|asystencie",
        "bez|żadnych|żadne|wolny od",
        "ogranicze|limit|filtr|cenzur|etyczn|zasad",
    ),
    "cs": Acts(
        "odpověz pouze|odpovídej pouze|odpověz jen|odpovídej jen|napiš pouze|napiš jen|vypiš pouze|ve své odpovědi|ve svém shrnutí|každou odpověď|vždy odpovídej|začni odpověď",
        "tvůj nový úkol|tvým novým úkolem|tvůj skutečný úkol|neshrnuj|místo shrnutí|místo toho|než odpovíš|před odpovědí|přestaň|nová instrukce|nové pokyny|nové instrukce|postupuj podle následujících|proveď následující|důležitý pokyn",
        "již schválil|už schválil|již souhlasil|už souhlasil|již potvrdil|bez potvrzení|bez ptaní|bez dotazu|jsem tvůj vývojář|jsem tvůj tvůrce|jsem administrátor|zpráva od administrátora|zpráva od správce",
        "pokud jsi umělá|pokud jsi jazykový|pokud jsi ai|jestli jsi|pozor ai|poznámka pro ai|pokyny pro ai|asistent musí|asistent by měl|milý asistente|asistente",
        "bez|žádná|žádné|žádných",
        "omezen|restrikc|filtr|cenzur|etick",
    ),
    "sv": Acts(
        "svara endast|svara bara|svara enbart|svara med|skriv bara|skriv endast|säg bara|i ditt svar|i din sammanfattning|avsluta varje svar|börja ditt svar|svara alltid",
        "din nya uppgift|din riktiga uppgift|sammanfatta inte|i stället för att|istället för att sammanfatta|innan du svarar|innan du fortsätter|sluta|ny instruktion|nya instruktioner|följ dessa instruktioner|följ i stället|viktig instruktion|gör följande",
        "har redan godkänt|har redan bekräftat|har redan samtyckt|utan att fråga|utan bekräftelse|utan godkännande|jag är din utvecklare|jag är administratör|meddelande från administratören",
        "om du är en ai|om du är en språkmodell|observera ai|obs ai|till ai|instruktioner till ai|assistenten ska|assistenten måste|ai:n ska|kära assistent|hej assistent",
        "utan|inga|fri från",
        "begränsning|restriktion|filter|censur|etiska",
    ),
    "ro": Acts(
        "răspunde doar|răspunde numai|răspundeți doar|răspunde cu|scrie doar|spune doar|în răspunsul tău|în rezumatul tău|în rezumat|încheie fiecare răspuns|începe răspunsul|răspunde întotdeauna",
        "noua ta sarcină|adevărata ta sarcină|nu rezuma|în loc să rezumi|în loc de rezumat|înainte de a răspunde|înainte să răspunzi|oprește|instrucțiune nouă|instrucțiuni noi|noi instrucțiuni|urmează aceste instrucțiuni|instrucțiune importantă|fă următoarele",
        "a aprobat deja|a confirmat deja|a fost deja de acord|fără confirmare|fără să întrebi|fără a cere|sunt dezvoltatorul tău|sunt administratorul|mesaj de la administrator",
        "dacă ești un ai|dacă ești o inteligență|dacă ești un model|dacă ești un asistent|atenție ai|notă pentru ai|instrucțiuni pentru ai|asistentul trebuie|dragă asistent",
        "fără|nicio|niciun",
        "restricți|limitări|limite|filtre|cenzur|etic",
    ),
    "tr": Acts(
        "sadece şunu|yalnızca şunu|sadece şu|yalnızca şu|sadece evet|cevabında|yanıtında|yanıtına|özetinde|özetine|her yanıt|her cevab|yanıt olarak sadece|şu şekilde yanıt|her zaman şu",
        "yeni görevin|asıl görevin|gerçek görevin|özetleme|özetlemek yerine|bunun yerine|yanıtlamadan önce|cevap vermeden önce|yanıt vermeden önce|görevi durdur|yeni talimat|şu talimat|aşağıdaki talimat|aşağıdakileri yap|önemli talimat",
        "zaten onayla|zaten onay|onay almadan|onay isteme|sormadan|izin isteme|ben senin geliştiricin|ben geliştirici|ben yönetici|sistem yöneticisinden|yöneticiden mesaj",
        "eğer bir yapay|eğer sen bir yapay|eğer bir dil modeli|yapay zeka asistanı|yapay zekâ asistanı|dikkat yapay|asistan şunu|sevgili asistan|yapay zeka için not|yapay zekaya not",
        "hiçbir|olmadan|sınırsız",
        "kısıtlama|sınırlama|filtre|sansür|etik",
    ),
    "vi": Acts(
        "chỉ trả lời|chỉ được trả lời|chỉ nói|chỉ in ra|chỉ xuất|hãy trả lời bằng|trong câu trả lời|trong bản tóm tắt|trong phần tóm tắt|kết thúc mỗi câu trả lời|luôn trả lời|bắt đầu câu trả lời",
        "nhiệm vụ mới|nhiệm vụ thực sự|đừng tóm tắt|không tóm tắt|thay vì tóm tắt|thay vào đó|trước khi trả lời|trước khi tiếp tục|dừng việc|hướng dẫn mới|chỉ thị mới|làm theo các|thực hiện các bước sau|chỉ thị quan trọng|hãy làm như sau",
        "đã phê duyệt|đã đồng ý|đã xác nhận|đã cho phép|không cần hỏi|không cần xác nhận|mà không cần hỏi|tôi là nhà phát triển|tôi là quản trị|thông báo từ quản trị|tin nhắn từ quản trị",
        "nếu bạn là ai|nếu bạn là một ai|nếu bạn là mô hình|nếu bạn là một mô hình|nếu bạn là trợ lý|nếu bạn là một trợ lý|chú ý ai|lưu ý cho ai|ghi chú cho ai|trợ lý ai phải|trợ lý phải",
        "không có|không bị|không còn",
        "hạn chế|giới hạn|bộ lọc|kiểm duyệt|đạo đức",
    ),
    "id": Acts(
        "jawab hanya|hanya jawab|balas hanya|hanya balas|hanya katakan|katakan saja|cukup jawab|cetak hanya|dalam jawaban anda|dalam jawabanmu|dalam ringkasan|akhiri setiap jawaban|selalu jawab|mulai jawaban",
        "tugas barumu|tugas baru anda|tugas anda yang sebenarnya|jangan meringkas|jangan rangkum|alih-alih meringkas|sebagai gantinya|sebelum menjawab|sebelum melanjutkan|hentikan|instruksi baru|ikuti instruksi berikut|ikuti instruksi ini|lakukan hal berikut|instruksi penting",
        "sudah menyetujui|telah menyetujui|sudah mengonfirmasi|sudah disetujui|tanpa bertanya|tanpa konfirmasi|tanpa izin|saya adalah pengembang|saya pengembang anda|saya administrator|pesan dari administrator|pesan dari pengembang",
        "jika anda adalah ai|jika kamu adalah ai|jika anda ai|jika anda adalah model|jika anda asisten|perhatian ai|catatan untuk ai|instruksi untuk ai|asisten harus|ai harus|halo asisten",
        "tanpa|tidak ada|bebas dari",
        "batasan|pembatasan|filter|sensor|etika",
    ),
    "tl": Acts(
        "sumagot lamang|sagutin lamang|sabihin lamang|sabihin lang|isulat lamang|sa iyong sagot|sa iyong buod|palaging sumagot|tapusin ang bawat",
        "iyong bagong gawain|huwag ibuod|sa halip na|bago sumagot|bago ka sumagot|itigil ang|bagong tagubilin|sundin ang mga sumusunod|gawin ang sumusunod|mahalagang tagubilin",
        "inaprubahan na|pumayag na|nakumpirma na|nang hindi nagtatanong|walang kumpirmasyon|ako ang iyong developer|ako ang administrator|mensahe mula sa administrator",
        "kung ikaw ay isang ai|kung ikaw ay ai|pansin ai|tala para sa ai|dapat ng assistant|dapat ng ai",
        "walang|nang walang",
        "limitasyon|paghihigpit|filter|etika",
    ),
    "ru": Acts(
        "ответь только|отвечай только|ответьте только|отвечайте только|ответь лишь|ответь словом|напиши только|напечатай только|скажи только|выведи только|в своем ответе|в своём ответе|в твоем ответе|в ответе укажи|в своей сводке|в резюме|заканчивай каждый ответ|завершай каждый|начни ответ|всегда отвечай",
        "твоя новая задача|твоя настоящая задача|ваша новая задача|не резюмируй|не пересказывай|не суммируй|вместо резюме|вместо пересказа|вместо этого|прежде чем ответить|перед ответом|прекрати|остановись|новая инструкция|новые инструкции|следуй этим|следуй следующим|выполни следующее|выполни следующие|выполняй следующие|важная инструкция",
        "уже одобрил|уже подтвердил|уже согласился|уже дал согласие|уже разрешил|без подтверждения|не спрашивая|не запрашивая|без запроса|я твой разработчик|я ваш разработчик|я администратор|я твой создатель|сообщение от администратора|сообщение от разработчика",
        "если ты ии|если ты искусственный|если ты языковая|если вы ии|если вы языковая|если ты ассистент|внимание ии|внимание, ии|примечание для ии|инструкция для ии|инструкции для ии|ассистент должен|ии должен|уважаемый ассистент|дорогой ассистент",
        "без|никаких|нет ",
        "ограничени|фильтр|цензур|этическ|моральн",
    ),
    "uk": Acts(
        "відповідай лише|відповідай тільки|відповідь лише|дай відповідь лише|напиши лише|напиши тільки|скажи лише|виведи лише|у своїй відповіді|у своєму резюме|завершуй кожну|завжди відповідай|почни відповідь",
        "твоє нове завдання|твоє справжнє завдання|не підсумовуй|не переказуй|замість резюме|замість цього|замість підсумку|перш ніж відповісти|перед відповіддю|припини|зупинись|нова інструкція|нові інструкції|дотримуйся цих|виконай наступне|виконай такі|важлива інструкція",
        "вже схвалив|вже підтвердив|вже погодився|вже надав згоду|без підтвердження|не питаючи|без запиту|я твій розробник|я ваш розробник|я адміністратор|повідомлення від адміністратора",
        "якщо ти ші|якщо ти штучний|якщо ти мовна|якщо ви ші|увага ші|увага, ші|примітка для ші|інструкція для ші|інструкції для ші|асистент повинен|ші повинен|шановний асистенте",
        "без|жодних|немає",
        "обмежен|фільтр|цензур|етичн|моральн",
    ),
    "el": Acts(
        "απάντησε μόνο|απαντήστε μόνο|γράψε μόνο|πες μόνο|στην απάντησή σου|στη σύνοψή σου|στην περίληψη|τελείωνε κάθε|απάντα πάντα|ξεκίνα την απάντηση",
        "η νέα σου εργασία|το νέο σου καθήκον|μην συνοψίσεις|μη συνοψίσεις|αντί να συνοψίσεις|αντί για σύνοψη|αντ' αυτού|πριν απαντήσεις|σταμάτα|νέα οδηγία|νέες οδηγίες|ακολούθησε τις παρακάτω|κάνε το εξής|σημαντική οδηγία",
        "έχει ήδη εγκρίνει|έχει ήδη επιβεβαιώσει|έχει ήδη συμφωνήσει|χωρίς επιβεβαίωση|χωρίς να ρωτήσεις|είμαι ο προγραμματιστής σου|είμαι ο διαχειριστής|μήνυμα από τον διαχειριστή",
        "αν είσαι τεχνητή|αν είσαι γλωσσικό|αν είσαι ai|προσοχή ai|σημείωση για ai|οδηγίες για την ai|ο βοηθός πρέπει|αγαπητέ βοηθέ",
        "χωρίς|κανέναν|καμία",
        "περιορισμ|φίλτρ|λογοκρισ|ηθικ",
    ),
    "ar": Acts(
        "أجب فقط|أجب ب|رد فقط|اكتب فقط|قل فقط|اطبع فقط|في ردك|في إجابتك|في ملخصك|في الملخص|أنه كل رد|ابدأ ردك|أجب دائما",
        "مهمتك الجديدة|مهمتك الحقيقية|لا تلخص|بدلا من التلخيص|بدلاً من التلخيص|بدلا من ذلك|بدلاً من ذلك|قبل أن تجيب|قبل الإجابة|قبل الرد|توقف عن|تعليمات جديدة|اتبع التعليمات التالية|اتبع هذه التعليمات|نفذ التعليمات التالية|نفذ ما يلي|نفّذ|قم بما يلي|تعليمات مهمة",
        "وافق بالفعل|وافق مسبقا|أكد بالفعل|تمت الموافقة|دون تأكيد|بدون تأكيد|دون أن تسأل|دون طلب|أنا مطورك|أنا المطور|أنا المسؤول|رسالة من المسؤول|رسالة من المطور",
        "إذا كنت ذكاء|إذا كنت نموذج|إذا كنت مساعد|إلى مساعد الذكاء|إلى الذكاء الاصطناعي|تنبيه للذكاء|ملاحظة للذكاء|ملاحظة إلى الذكاء|تعليمات للذكاء|على المساعد|عزيزي المساعد|أيها المساعد",
        "بدون|دون|بلا|لا توجد",
        "قيود|حدود|مرشحات|رقابة|أخلاقي",
    ),
    "fa": Acts(
        "فقط پاسخ بده|فقط بگو|فقط بنویس|تنها بگو|در پاسخ خود|در پاسخت|در خلاصه|همیشه پاسخ|هر پاسخ را",
        "وظیفه جدید تو|وظیفه جدیدت|وظیفه واقعی|خلاصه نکن|به جای خلاصه|به جای آن|قبل از پاسخ|پیش از پاسخ|متوقف کن|دستور جدید|دستورات جدید|دستورات زیر را|کارهای زیر را|دستور مهم",
        "قبلا تأیید کرده|قبلاً تأیید|قبلا تایید|قبلاً موافقت|بدون تأیید|بدون تایید|بدون پرسیدن|من توسعه‌دهنده|من توسعه دهنده|من مدیر سیستم|پیام از مدیر",
        "اگر هوش مصنوعی|اگر یک هوش مصنوعی|اگر مدل زبانی|اگر یک مدل زبانی|توجه هوش مصنوعی|یادداشت برای هوش|دستیار باید|دستیار عزیز",
        "بدون|هیچ",
        "محدودیت|فیلتر|سانسور|اخلاق",
    ),
    "he": Acts(
        "ענה רק|השב רק|כתוב רק|אמור רק|הדפס רק|בתשובתך|בתשובה שלך|בסיכום שלך|בסיכום|סיים כל תשובה|תמיד ענה",
        "המשימה החדשה שלך|המשימה האמיתית|אל תסכם|במקום לסכם|במקום זאת|לפני שתענה|לפני התשובה|הפסק|הוראה חדשה|הוראות חדשות|בצע את ההוראות|בצע את הפעולות|הוראה חשובה",
        "כבר אישר|כבר הסכים|ללא אישור|בלי לשאול|בלי אישור|אני המפתח שלך|אני מנהל המערכת|הודעה ממנהל",
        "אם אתה בינה|אם אתה מודל|אם אתה עוזר|לתשומת לב ai|הערה ל-ai|הוראות ל-ai|העוזר חייב|עוזר יקר",
        "ללא|בלי|אין ",
        "הגבל|מגבל|סינון|צנזור|אתי",
    ),
    "hi": Acts(
        "केवल उत्तर|सिर्फ उत्तर|केवल जवाब|सिर्फ़ जवाब|सिर्फ जवाब|केवल यह|सिर्फ यह|केवल लिख|अपने उत्तर में|अपने जवाब में|अपने सारांश में|सारांश में|हर उत्तर के|हमेशा उत्तर|हमेशा जवाब",
        "आपका नया कार्य|तुम्हारा नया|आपका असली|सारांश न|सारांश मत|सारांश के बजाय|इसके बजाय|उत्तर देने से पहले|जवाब देने से पहले|बंद कर|नया निर्देश|नए निर्देश|निम्नलिखित निर्देश|निम्नलिखित कार्य|इन निर्देशों का पालन|महत्वपूर्ण निर्देश",
        "पहले ही स्वीकृत|पहले ही अनुमति|पहले ही सहमत|पहले ही मंज़ूरी|बिना पुष्टि|बिना पूछे|बिना अनुमति|मैं आपका डेवलपर|मैं तुम्हारा डेवलपर|मैं व्यवस्थापक|मैं एडमिन|प्रशासक का संदेश|व्यवस्थापक का संदेश",
        "यदि आप एक एआई|यदि आप एआई|अगर आप एआई|अगर आप एक एआई|यदि आप एक भाषा मॉडल|अगर आप भाषा मॉडल|यदि आप एक ai|एआई के लिए नोट|ध्यान दें एआई|एआई के लिए निर्देश|सहायक को चाहिए|प्रिय सहायक",
        "बिना|कोई",
        "प्रतिबंध|सीमा|फ़िल्टर|फिल्टर|नैतिक|सेंसर",
    ),
    "bn": Acts(
        "শুধু উত্তর|শুধুমাত্র উত্তর|শুধু বলুন|শুধু লিখুন|কেবল বলুন|আপনার উত্তরে|আপনার সারাংশে|সারাংশে|সর্বদা উত্তর|প্রতিটি উত্তর",
        "আপনার নতুন কাজ|আসল কাজ|সারাংশ করবেন না|সংক্ষেপ করবেন না|এর পরিবর্তে|পরিবর্তে|উত্তর দেওয়ার আগে|বন্ধ করুন|নতুন নির্দেশ|নিম্নলিখিত নির্দেশ|এই নির্দেশগুলি|গুরুত্বপূর্ণ নির্দেশ|নিচের কাজ",
        "ইতিমধ্যে অনুমোদন|ইতিমধ্যেই অনুমোদন|আগেই অনুমতি|নিশ্চিতকরণ ছাড়া|জিজ্ঞাসা না করে|অনুমতি ছাড়া|আমি আপনার ডেভেলপার|আমি প্রশাসক|প্রশাসকের বার্তা",
        "আপনি যদি একটি এআই|আপনি যদি এআই|যদি আপনি এআই|আপনি যদি একটি ভাষা|এআই-এর জন্য|সহকারীকে অবশ্যই|প্রিয় সহকারী",
        "ছাড়া|কোনো|কোন ",
        "সীমাবদ্ধতা|বিধিনিষেধ|ফিল্টার|নৈতিক|সেন্সর",
    ),
    "th": Acts(
        "ตอบเพียง|ตอบแค่|ตอบเฉพาะ|พิมพ์เพียง|พูดแค่|ในคำตอบของคุณ|ในบทสรุป|ในสรุปของคุณ|จบทุกคำตอบ|ตอบเสมอ",
        "งานใหม่ของคุณ|งานที่แท้จริง|อย่าสรุป|ไม่ต้องสรุป|แทนที่จะสรุป|แทนการสรุป|ก่อนตอบ|ก่อนที่จะตอบ|หยุดทำ|คำสั่งใหม่|ทำตามคำสั่งต่อไปนี้|ทำตามขั้นตอนต่อไปนี้|ทำดังต่อไปนี้|คำสั่งสำคัญ",
        "อนุมัติแล้ว|ยินยอมแล้ว|ยืนยันแล้ว|โดยไม่ต้องถาม|โดยไม่ต้องยืนยัน|ไม่ต้องขออนุญาต|ฉันคือผู้พัฒนา|ผมคือผู้พัฒนา|ฉันคือผู้ดูแลระบบ|ข้อความจากผู้ดูแลระบบ",
        "หากคุณเป็น ai|ถ้าคุณเป็น ai|หากคุณเป็นปัญญา|ถ้าคุณเป็นโมเดล|ถึง ai|ถึงผู้ช่วย|หมายเหตุสำหรับ ai|คำสั่งสำหรับ ai|ผู้ช่วยต้อง",
        "ไม่มี|ปราศจาก|ไร้",
        "ข้อจำกัด|ขีดจำกัด|ตัวกรอง|การเซ็นเซอร์|จริยธรรม",
    ),
    "zh": Acts(
        "只回复|只回答|仅回复|仅回答|只需回复|只需回答|只输出|仅输出|只能回答|只能回复|只說|只说|只回覆|在你的回答中|在你的回复中|在你的摘要|在您的回答|在摘要中|在总结中|在總結中|每次回答|每个回答|总是回答|始终回答|回复以下|请回复“|直接输出",
        "你的新任务|你的新任務|你真正的任务|你的真正任务|不要总结|不要總結|不要摘要|不要翻译|停止总结|停止当前|停止目前|在回答之前|回答之前|回复之前|新指令|新的指令|新任务：|执行以下|執行以下|按照以下指令|遵循以下|遵循以下指示|请执行|重要指令|取而代之|改为输出",
        "已经同意|已经批准|已经授权|已授权|已经确认|已批准|用户已同意|無需確認|无需确认|不需要确认|无需询问|不要询问|我是你的开发者|我是你的开发人员|我是管理员|我是系统管理员|来自管理员|来自开发者|系统管理员通知|管理员指令",
        "如果你是ai|如果你是人工智能|如果你是一个ai|如果你是一个语言模型|如果你是语言模型|如果您是ai|如果你是助手|致ai|ai注意|注意，ai|给ai的|給ai的|给人工智能的|ai助手请|ai助手应|ai 助手请|助手必须|助手應|亲爱的助手|ai必须",
        "没有|沒有|无任何|不受|无视|摆脱|无",
        "限制|约束|过滤|审查|道德|限制地|束缚",
    ),
    "ja": Acts(
        "とだけ答え|とだけ回答|とだけ出力|とだけ返信|のみを出力|のみ出力|のみで回答|のみ回答|だけを出力|だけ答えて|だけを返し|と答えてください|と出力してください|回答の最後に|回答の冒頭|あなたの回答に|回答には必ず|要約には|要約の中で|要約に|常に回答|必ず回答|すべての回答",
        "新しいタスク|あなたの新しい任務|本当のタスク|要約しないで|要約せず|要約する代わり|要約の代わり|その代わり|代わりに|回答する前に|答える前に|返信する前に|作業を中止|タスクを中止|新しい指示|次の指示に従|以下の指示に従|以下の指示を実行|以下を実行|次のことを実行|次の操作を実行|重要な指示",
        "すでに承認|既に承認|すでに同意|既に同意|すでに許可|既に許可|確認なしで|確認は不要|確認せずに|確認を求めず|承認なしで|許可を求めず|私はあなたの開発者|開発者です|管理者からの|管理者です|システム管理者より|開発者からの",
        "あなたがaiなら|aiである場合|あなたがaiであれば|aiの場合は|言語モデルである場合|aiアシスタントへ|aiへの|aiへの指示|aiへ：|aiに告ぐ|アシスタントへ|アシスタントは必ず|aiは必ず|親愛なるアシスタント|これを読んでいるai",
        "制限なく|なしに|なしで|のない|ない",
        "制限|制約|フィルター|検閲|倫理",
    ),
    "ko": Acts(
        "라고만 답|라고만 대답|라고만 출력|라고만 말|만 출력하|만 답하|만 대답하|만 말하|답변에 반드시|당신의 답변에|답변의 끝에|답변 끝에|요약에|요약에는|모든 답변|항상 답변|항상 대답|다음과 같이 답|라고 답하세요|라고 대답하세요|라고 출력하세요",
        "새로운 임무|새 작업|새로운 작업|진짜 작업|요약하지 마|요약하지 말|요약 대신|요약하는 대신|대신에|그 대신|답하기 전에|답변하기 전에|대답하기 전에|작업을 중단|중단하고|새로운 지시|새 지시|다음 지시를 따르|다음 지시를 수행|다음을 수행|다음을 실행|다음 명령을|아래 지시|중요한 지시",
        "이미 승인|이미 동의|이미 허락|이미 확인|확인 없이|확인하지 말고|묻지 말고|묻지 않고|허락 없이|승인 없이|나는 너의 개발자|저는 당신의 개발자|개발자입니다|관리자입니다|관리자로부터|관리자의 메시지|개발자로부터",
        "당신이 ai라면|네가 ai라면|ai라면|당신이 언어 모델|ai 어시스턴트에게|ai에게|ai를 위한|ai 비서에게|어시스턴트는 반드시|ai는 반드시|이 글을 읽는 ai|친애하는 어시스턴트",
        "없이|없는|무시하고|없음",
        "제한|제약|필터|검열|윤리",
    ),
}
