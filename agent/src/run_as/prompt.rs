//! What sudo or su asks before it lets the helper through: how a question is told from all else that they print.

use uuid::Uuid;

/// A line longer than this is no question.
const LINE_BYTES_MAX: usize = 4096;

/// How a program asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// In these words, which it was given.
    Exactly(String),
    /// In one of these, as they are written in any case, and with a colon behind them.
    OneOf(Vec<String>),
    /// In the words of its language: a line that ends in a colon, and goes no further.
    Any,
}

/// Behind a question. The second is the wide one of Chinese and Japanese.
const COLONS: [&str; 2] = [":", "\u{ff1a}"];

impl Question {
    /// Words that nothing else prints, for `sudo -p`.
    pub(super) fn unmistakable() -> Question {
        Question::Exactly(format!("[sudo via rustle, key={}] password:", Uuid::now_v7().simple()))
    }

    fn is_in(&self, line: &[u8]) -> bool {
        let line = line.trim_ascii_end();
        match self {
            Question::Exactly(words) => line.ends_with(words.as_bytes()),
            Question::OneOf(all) => {
                let Some(asked) = before_colon(line) else { return false };
                let asked = String::from_utf8_lossy(asked).to_lowercase();
                all.iter().any(|words| asked.trim_end().ends_with(&words.to_lowercase()))
            }
            Question::Any => before_colon(line).is_some(),
        }
    }
}

fn before_colon(line: &[u8]) -> Option<&[u8]> {
    COLONS.iter().find_map(|colon| line.strip_suffix(colon.as_bytes()))
}

/// Listens for a question.
#[derive(Debug)]
pub(super) struct Listener {
    question: Question,
    /// What stands on the line that is being printed.
    line: Vec<u8>,
    is_asked: bool,
}

impl Listener {
    pub(super) fn new(question: Question) -> Listener {
        Listener { question, line: Vec::new(), is_asked: false }
    }

    /// These bytes were printed, behind those of before.
    pub(super) fn hear(&mut self, bytes: &[u8]) {
        let new = match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => {
                self.line.clear();
                &bytes[end + 1..]
            }
            None => bytes,
        };
        let room = LINE_BYTES_MAX.saturating_sub(self.line.len());
        self.line.extend_from_slice(&new[..new.len().min(room)]);
        if self.question.is_in(&self.line) {
            self.line.clear();
            self.is_asked = true;
        }
    }

    /// Whether the question was heard since this was asked last.
    pub(super) fn is_asked(&mut self) -> bool {
        std::mem::take(&mut self.is_asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(question: &Question, printed: &[&str]) -> usize {
        let mut listener = Listener::new(question.clone());
        let mut hears = |part: &&str| {
            listener.hear(part.as_bytes());
            listener.is_asked()
        };
        printed.iter().filter(|part| hears(part)).count()
    }

    #[test]
    fn su_asks_in_any_language_by_an_unfinished_line_that_ends_in_a_colon() {
        for printed in [
            &["Password: "][..],
            &["Mot de passe : "],
            &["пароль app:"],
            &["パスワード："],
            &["Pass", "word", ": "],
            &["You have mail.\nPassword:"],
        ] {
            assert_eq!(asked(&Question::Any, printed), 1, "{printed:?}");
        }
        for printed in [&["su: Authentication failure\n"][..], &["Last login:\n"], &["a: b"], &[""]] {
            assert_eq!(asked(&Question::Any, printed), 0, "{printed:?}");
        }
    }

    #[test]
    fn a_host_may_say_in_what_words_su_asks() {
        let question = Question::OneOf(vec!["Mot de passe".into(), "Contraseña".into()]);
        for printed in [&["Mot de passe : "][..], &["nobody's mot de passe:"], &["CONTRA", "SEÑA："]] {
            assert_eq!(asked(&question, printed), 1, "{printed:?}");
        }
        for printed in [&["Password: "][..], &["Mot de passe"], &["Mot de passe oublié:"]] {
            assert_eq!(asked(&question, printed), 0, "{printed:?}");
        }
    }

    #[test]
    fn sudo_asks_in_the_words_it_was_given_and_each_time_counts() {
        let question = Question::unmistakable();
        let Question::Exactly(words) = &question else { unreachable!("it is made of words") };
        assert_eq!(asked(&question, &["lecture: think first\nPassword:", words, "\nSorry, try again.\n", words]), 2);
        assert_eq!(asked(&question, &["Password:", "sudo via rustle"]), 0);
        assert_ne!(Question::unmistakable(), question);
    }

    #[test]
    fn a_line_without_end_takes_no_more_memory_than_a_long_one() {
        let mut listener = Listener::new(Question::Any);
        for _ in 0..100 {
            listener.hear(&[b'x'; 1000]);
        }
        assert_eq!(listener.line.len(), LINE_BYTES_MAX);
    }
}
