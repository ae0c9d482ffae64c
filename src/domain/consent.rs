//! Consent: what a recipient's own words say about being written to.

/// What somebody said about being written to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Consent {
    /// Not any more.
    Out,
    /// Again.
    In,
}

impl Consent {
    /// The word it is stored under.
    pub fn name(self) -> &'static str {
        match self {
            Consent::Out => "out",
            Consent::In => "in",
        }
    }
}

/// Who said it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConsentSource {
    /// Somebody by a command.
    Person,
    /// The recipient, by a keyword.
    Keyword,
}

impl ConsentSource {
    /// The word it is stored under.
    pub fn name(self) -> &'static str {
        match self {
            ConsentSource::Person => "person",
            ConsentSource::Keyword => "keyword",
        }
    }

    /// The source of a word.
    pub fn from_name(name: &str) -> Option<ConsentSource> {
        [ConsentSource::Person, ConsentSource::Keyword].into_iter().find(|s| s.name() == name)
    }
}

/// Messages that opt out, as [`plain`] leaves them: those of SMS carriers (CTIA: stop, end, cancel, unsubscribe, quit), and the
/// same in other languages. Each is a whole message: "stop, o Zé não vem" is none.
const OUT: &[&str] = &[
    // English
    "stop",
    "stop all",
    "stopall",
    "unsubscribe",
    "optout",
    "opt out",
    "end",
    "quit",
    "cancel",
    "revoke",
    "remove me",
    "unsubscribe me",
    "stop it",
    "please stop",
    "stop please",
    // German
    "stopp",
    "abmelden",
    "abbestellen",
    "austragen",
    "bitte stopp",
    "stopp bitte",
    "bitte abmelden",
    "keine nachrichten mehr",
    // Spanish
    "alto",
    "baja",
    "darme de baja",
    "cancelar",
    "cancelar suscripcion",
    "no mas mensajes",
    // Portuguese
    "parar",
    "pare",
    "sair",
    "remover",
    "descadastrar",
    "cancelar inscricao",
    "cancelar assinatura",
    "me remova",
    // Italian
    "ferma",
    "cancellami",
    "annulla iscrizione",
    "disiscrivimi",
    "disiscriviti",
    "cancella iscrizione",
    "rimuovimi",
    // French
    "arret",
    "arreter",
    "arretez",
    "desabonner",
    "desinscrire",
    "desinscription",
    "me desabonner",
    "se desabonner",
    // Arabic
    "توقف",
    "ايقاف",
    "الغاء",
    "الغاء الاشتراك",
    "اوقف",
];

/// Messages that opt in again.
const IN: &[&str] = &[
    "start",
    "unstop",
    "subscribe",
    "optin",
    "opt in",
    "anmelden",
    "alta",
    "suscribir",
    "inscrever",
    "voltar",
    "iscrivimi",
    "abonner",
    "sabonner",
    "اشتراك",
    "ابدا",
];

/// What a whole message says about being written to, if it says just that.
pub fn read(text: &str) -> Option<Consent> {
    let said = plain(text)?;
    match said.as_str() {
        said if OUT.contains(&said) => Some(Consent::Out),
        said if IN.contains(&said) => Some(Consent::In),
        _ => None,
    }
}

/// Longer messages say more than a keyword, in characters.
const LONGEST: usize = 60;

/// A message without case, accents and punctuation, with single spaces. `None` where that leaves nothing, or it is too long.
fn plain(text: &str) -> Option<String> {
    if text.chars().count() > LONGEST {
        return None;
    }
    let mut said = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        match base(c) {
            Some(c) if c.is_alphanumeric() => said.push(c),
            Some(c) if (c.is_whitespace() || c == '-') && !said.ends_with(' ') => said.push(' '),
            _ => {}
        }
    }
    let said = said.trim().to_owned();
    (!said.is_empty()).then_some(said)
}

/// A letter without its accent; nothing of a mark by itself.
fn base(c: char) -> Option<char> {
    Some(match c {
        'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' => 'a',
        'ç' => 'c',
        'è' | 'é' | 'ê' | 'ë' => 'e',
        'ì' | 'í' | 'î' | 'ï' => 'i',
        'ñ' => 'n',
        'ò' | 'ó' | 'ô' | 'õ' | 'ö' => 'o',
        'ù' | 'ú' | 'û' | 'ü' => 'u',
        // Alef with its marks.
        'أ' | 'إ' | 'آ' | 'ٱ' => 'ا',
        // Accents that stand by themselves, Arabic vowels, and the stretching of a word.
        '\u{300}'..='\u{36f}' | '\u{64b}'..='\u{65f}' | '\u{640}' => return None,
        c => c,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_message_opts_out_however_it_is_written() {
        for text in [
            "STOP",
            " stop. ",
            "Stop!!!",
            "«stop»",
            "opt-out",
            "OPT  OUT",
            "Stopp",
            "ABMELDEN",
            "Baja",
            "cancelar suscripción",
            "Parar",
            "SAIR",
            "cancelar inscrição",
            "Cancellami",
            "ARRÊT",
            "Désabonner",
            "إلغاء الاشتراك",
            "توقّف",
            "STOP 🛑",
            "de\u{301}sabonner",
        ] {
            assert_eq!(read(text), Some(Consent::Out), "{text}");
        }
        for text in ["START", "unstop", "Alta", "Anmelden", "s'abonner"] {
            assert_eq!(read(text), Some(Consent::In), "{text}");
        }
    }

    #[test]
    fn what_says_more_than_a_keyword_is_no_opt_out() {
        for text in [
            "stop, o Zé não vem",
            "STOP 12345",
            "don't stop",
            "non-stop",
            "full stop ahead",
            "stopping by at 5",
            "bus stop",
            "end of may",
            "I want to cancel my order 7",
            "quit smoking",
            "nicht stoppen",
            "baja temperatura",
            "pare de chorar",
            "",
            "🛑",
            "stop\nbut later",
            "can you start at nine?",
            "no",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
