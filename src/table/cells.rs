//! Cells that a spreadsheet takes for what they are: text.

use std::borrow::Cow;

/// What a spreadsheet takes for the beginning of a formula, or of a text that is none (OWASP, "CSV injection").
const BEGINS_A_FORMULA: [char; 7] = ['=', '+', '-', '@', '\t', '\r', '\''];

/// A cell that no spreadsheet carries out: where it could begin a formula it begins with an apostrophe.
pub fn harmless(text: &str) -> Cow<'_, str> {
    match text.starts_with(BEGINS_A_FORMULA) {
        true => Cow::Owned(format!("'{text}")),
        false => Cow::Borrowed(text),
    }
}

/// What [`harmless`] made harmless, as it was; any other text as it is.
pub(super) fn as_written(text: &str) -> &str {
    text.strip_prefix('\'').filter(|rest| rest.starts_with(BEGINS_A_FORMULA)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_begins_a_formula_and_each_reads_back_as_it_was() {
        for text in ["=1+1", "+49 170 1", "-5", "@SUM(A1)", "'quoted", "''", "", "plain", "2010", "\tx", "'=x"] {
            let cell = harmless(text);
            assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "{text:?}");
            assert_eq!(as_written(&cell), text);
        }
        assert_eq!(as_written("'twas"), "'twas", "an apostrophe of the text's own");
    }
}
