//! Consent: what a recipient's own words say about being written to.

use crate::domain::wording::{asks, plain};

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
    /// A file in which it was recorded.
    Import,
}

impl ConsentSource {
    /// The word it is stored under.
    pub fn name(self) -> &'static str {
        match self {
            ConsentSource::Person => "person",
            ConsentSource::Keyword => "keyword",
            ConsentSource::Import => "import",
        }
    }

    /// The source of a word.
    pub fn from_name(name: &str) -> Option<ConsentSource> {
        [ConsentSource::Person, ConsentSource::Keyword, ConsentSource::Import].into_iter().find(|s| s.name() == name)
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
    "no more messages",
    // German
    "stopp",
    "abmelden",
    "abbestellen",
    "austragen",
    "keine nachrichten mehr",
    // Spanish
    "alto",
    "baja",
    "darme de baja",
    "dame de baja",
    "denme de baja",
    "cancelar",
    "cancelar suscripcion",
    "no mas mensajes",
    "no quiero mas mensajes",
    // Portuguese
    "parar",
    "pare",
    "sair",
    "sair da lista",
    "remover",
    "descadastrar",
    "cancelar inscricao",
    "cancelar assinatura",
    "me remova",
    "nao quero mais mensagens",
    "nao quero mais receber mensagens",
    // Italian
    "ferma",
    "cancellami",
    "annulla iscrizione",
    "disiscrivimi",
    "disiscriviti",
    "cancella iscrizione",
    "rimuovimi",
    "basta messaggi",
    "non scrivetemi piu",
    // French
    "arret",
    "arreter",
    "arretez",
    "desabonner",
    "desinscrire",
    "desinscription",
    "me desabonner",
    "se desabonner",
    "desabonnement",
    "desabonnez moi",
    "plus de messages",
    // Arabic
    "توقف",
    "ايقاف",
    "الغاء",
    "الغاء الاشتراك",
    "الغاء اشتراكي",
    "اوقف",
    "اوقفوا الرسايل",
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

/// What may stand before or after a keyword and says nothing of its own, as [`plain`] leaves it.
const POLITE: &[&str] = &[
    "please",
    "pls",
    "thanks",
    "thank you",
    "bitte",
    "danke",
    "por favor",
    "gracias",
    "obrigado",
    "obrigada",
    "per favore",
    "per piacere",
    "grazie",
    "svp",
    "sil vous plait",
    "s il vous plait",
    "merci",
    "من فضلك",
    "لو سمحت",
    "شكرا",
];

/// What counts as an opt-out and an opt-in: the usual words of six languages, and those of an instance.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Keywords {
    out: Vec<String>,
    back: Vec<String>,
    ignored: Vec<String>,
}

impl Keywords {
    /// Lets a word opt out, or in, besides the usual ones. Answers whether anything of it could ever be said so: a question
    /// and a word without letters could not.
    pub fn add(&mut self, word: &str, verdict: Consent) -> bool {
        let words = match verdict {
            Consent::Out => &mut self.out,
            Consent::In => &mut self.back,
        };
        let said = sayable(word);
        words.extend(said.clone());
        said.is_some()
    }

    /// Whether a word counts as the other verdict: by the words of the instance, or as a usual one.
    pub fn means_other(&self, word: &str, verdict: Consent) -> bool {
        let Some(said) = sayable(word) else { return false };
        let (others, usual) = match verdict {
            Consent::Out => (&self.back, IN),
            Consent::In => (&self.out, OUT),
        };
        others.contains(&said) || usual.contains(&said.as_str()) && !self.ignored.contains(&said)
    }

    /// Lets one of the usual words say nothing, as "cancel" may where appointments are kept. Answers whether it is one.
    pub fn ignore(&mut self, word: &str) -> bool {
        let said = sayable(word).filter(|said| OUT.contains(&said.as_str()) || IN.contains(&said.as_str()));
        self.ignored.extend(said.clone());
        said.is_some()
    }

    /// What a whole message says about being written to, if it says just that. A question asks and says nothing.
    pub fn read(&self, text: &str) -> Option<Consent> {
        let said = sayable(text)?;
        let is_own = |words: &[String]| words.contains(&said);
        if is_own(&self.out) {
            return Some(Consent::Out);
        }
        if is_own(&self.back) {
            return Some(Consent::In);
        }
        if is_own(&self.ignored) {
            return None;
        }
        match said.as_str() {
            said if OUT.contains(&said) => Some(Consent::Out),
            said if IN.contains(&said) => Some(Consent::In),
            _ => None,
        }
    }
}

/// Opt-outs and opt-ins by the recipients' own words at an instance.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OptOut {
    /// What counts.
    pub keywords: Keywords,
    /// What is answered to an opt-out: the last that they hear.
    pub confirm_out: Option<String>,
    /// What is answered to an opt-in.
    pub confirm_in: Option<String>,
    /// Whether the recipient's opt-in also lifts what a person suppressed.
    pub lifts_manual: bool,
}

impl OptOut {
    /// What is answered where a verdict is new.
    pub fn confirmation(&self, verdict: Consent) -> Option<&str> {
        match verdict {
            Consent::Out => self.confirm_out.as_deref(),
            Consent::In => self.confirm_in.as_deref(),
        }
    }
}

/// A whole message as keywords are compared, if it could be one.
fn sayable(text: &str) -> Option<String> {
    if text.chars().count() > LONGEST || asks(text) {
        return None;
    }
    let said = plain(text);
    Some(once(without_politeness(&said)).to_owned()).filter(|said| !said.is_empty())
}

/// Longer messages say more than a keyword, whatever they consist of, in characters.
const LONGEST: usize = 200;

/// What is said without the words of courtesy around it.
fn without_politeness(said: &str) -> &str {
    let mut rest = said;
    loop {
        let before = |word: &&&str| rest.strip_prefix(**word).is_some_and(|r| r.starts_with(' '));
        let after = |word: &&&str| rest.strip_suffix(**word).is_some_and(|r| r.ends_with(' '));
        if let Some(word) = POLITE.iter().find(before) {
            rest = rest[word.len()..].trim_start();
        } else if let Some(word) = POLITE.iter().find(after) {
            rest = rest[..rest.len() - word.len()].trim_end();
        } else {
            return rest;
        }
    }
}

/// What is said again and again, once.
fn once(said: &str) -> &str {
    let first = said.split(' ').next().unwrap_or_default();
    if said.split(' ').all(|word| word == first) { first } else { said }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Consent> {
        Keywords::default().read(text)
    }

    #[test]
    fn an_instance_has_words_of_its_own_and_may_leave_usual_ones_out() {
        let mut keywords = Keywords::default();
        assert!(keywords.add("Genug jetzt!", Consent::Out) && keywords.add("Wieder", Consent::In));
        assert!(keywords.ignore("Cancel") && !keywords.ignore("genug"));
        assert!(keywords.means_other("GENUG jetzt", Consent::In) && keywords.means_other("start", Consent::Out));
        assert!(!keywords.means_other("cancel", Consent::In) && !keywords.means_other("genug jetzt", Consent::Out));
        assert!(!keywords.add("…", Consent::Out) && !keywords.add("stop?", Consent::Out));
        let said = ["genug jetzt", "bitte genug  jetzt", "WIEDER", "cancel", "stop", "genug", "…"];
        let verdicts =
            [Some(Consent::Out), Some(Consent::Out), Some(Consent::In), None, Some(Consent::Out), None, None];
        for (text, verdict) in said.into_iter().zip(verdicts) {
            assert_eq!(keywords.read(text), verdict, "{text}");
        }
    }

    #[test]
    fn the_usual_words_stand_as_they_are_compared() {
        for word in [OUT, IN, POLITE].concat() {
            assert_eq!(plain(word), word);
        }
    }

    #[test]
    fn words_of_an_instance_are_met_in_capitals_and_in_other_forms() {
        let mut keywords = Keywords::default();
        for word in ["τέλος", "De\u{301}crochez", "Schluß", "çıkış"] {
            assert!(keywords.add(word, Consent::Out), "{word}");
        }
        for text in ["ΤΕΛΟΣ", "τέλος!", "Τέλοσ", "DÉCROCHEZ", "décrochez", "SCHLUSS", "ÇIKIŞ", "ＳＣＨＬＵＳＳ"]
        {
            assert_eq!(keywords.read(text), Some(Consent::Out), "{text}");
        }
        for text in ["ΤΕΛΟΣ;", "τέλος\u{37e}", "Schluß？", "τέλος είναι"] {
            assert_eq!(keywords.read(text), None, "{text}");
        }
        assert!(!keywords.add("τέλος\u{37e}", Consent::Out), "a question is no keyword");
    }

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
            "Please unsubscribe me, thanks!",
            "stop stop STOP",
            "ＳＴＯＰ",
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
            "Stop?",
            "please",
            "Please don't stop sending",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
