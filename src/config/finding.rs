//! What is wrong with a file, and where.

use std::fmt;

/// One error or warning about a file, for the person who must mend it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The file, as it was named.
    pub file: String,
    /// 1-based; 0 where the whole file is meant.
    pub line: usize,
    /// 1-based; 0 where the whole line is meant.
    pub column: usize,
    /// What is wrong, what was given, what is expected.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
            if self.column > 0 {
                write!(f, ":{}", self.column)?;
            }
        }
        write!(f, ": {}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

/// A jobs file that cannot be used: every error of one reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(pub Vec<Finding>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, finding) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            finding.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Errors shown of one reading. A file with more has one cause, and it is among these.
pub(super) const FINDINGS_LIMIT: usize = 200;
