//! Where the files of a database stand.

use std::path::{Path, PathBuf};

/// Links followed from one name to the next; the system itself gives up after as many.
const LINKS: u32 = 40;

/// The path at which a database really stands: symbolic links to it are followed, also to where there is nothing yet. What
/// belongs to the database stands beside that path, as SQLite's own files do.
pub fn real_path(path: &Path) -> PathBuf {
    let mut at = path.to_owned();
    for _ in 0..LINKS {
        let Ok(to) = std::fs::read_link(&at) else { break };
        at = at.parent().map(|folder| folder.join(&to)).unwrap_or(to);
    }
    at
}

/// A file beside the database that bears its name and this ending.
pub(super) fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_to_where_the_file_stands_or_would() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::os::unix::fs::symlink("b", at("a")).unwrap();
        std::os::unix::fs::symlink(at("c"), at("b")).unwrap();
        assert_eq!(real_path(&at("a")), at("c"), "also where there is nothing yet");
        assert_eq!(real_path(&at("c")), at("c"));
        assert_eq!(real_path(Path::new("db")), Path::new("db"));
        std::os::unix::fs::symlink("loop", at("loop")).unwrap();
        assert_eq!(real_path(&at("loop")), at("loop"));
    }
}
