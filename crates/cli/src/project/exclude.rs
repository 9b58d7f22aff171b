//! What stays out of a package.

use std::path::Path;

/// Names left out wherever they stand: version control, caches, virtual environments, editors, and our own settings.
const NAMES: [&str; 21] = [
    ".git",
    ".hg",
    ".svn",
    ".gitignore",
    ".gitattributes",
    "__pycache__",
    "*.pyc",
    ".venv",
    "venv",
    ".tox",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".idea",
    ".vscode",
    ".DS_Store",
    ".aws-sam",
    ".serverless",
    ".npmrc",
    ".env",
    super::MANIFEST_FILE,
];
/// Paths left out, from the folder's root.
const PATHS: [&str; 4] = ["target", "node_modules/.cache", "node_modules/.bin", "vendor/bundle/ruby/*/cache"];

/// Decides what stays out.
#[derive(Debug, Clone)]
pub(crate) struct Exclusions {
    patterns: Vec<Pattern>,
}

/// A name anywhere, or a path from the root; `*` stands for any characters but slashes.
#[derive(Debug, Clone)]
enum Pattern {
    Name(String),
    Path(String),
}

impl Exclusions {
    /// The usual ones and those of `more`: a text with a slash is a path from the folder's root, else a name that may
    /// stand anywhere.
    pub(crate) fn new(more: &[String]) -> Exclusions {
        let usual = NAMES.iter().map(|name| Pattern::Name((*name).to_owned()));
        let paths = PATHS.iter().map(|path| Pattern::Path((*path).to_owned()));
        let more = more.iter().map(|text| {
            let inner = text.trim_matches('/');
            match text.contains('/') {
                true => Pattern::Path(inner.to_owned()),
                false => Pattern::Name(inner.to_owned()),
            }
        });
        Exclusions { patterns: usual.chain(paths).chain(more).collect() }
    }

    /// For installed packages: only caches stay out.
    pub(crate) fn installed() -> Exclusions {
        let names = ["__pycache__", "*.pyc"].map(|name| Pattern::Name(name.to_owned()));
        let paths = ["node_modules/.cache", "node_modules/.bin"].map(|path| Pattern::Path(path.to_owned()));
        Exclusions { patterns: names.into_iter().chain(paths).collect() }
    }

    /// The same, with or without the folder's own `node_modules`.
    pub(crate) fn with_node_modules(mut self, keep: bool) -> Exclusions {
        if !keep {
            self.patterns.push(Pattern::Path("node_modules".to_owned()));
        }
        self
    }

    /// Whether `relative` (slashes between components) stays out.
    pub(crate) fn skips(&self, relative: &str) -> bool {
        let name = relative.rsplit('/').next().unwrap_or(relative);
        self.patterns.iter().any(|pattern| match pattern {
            Pattern::Name(pattern) => matches(pattern.as_bytes(), name.as_bytes()),
            Pattern::Path(pattern) => matches(pattern.as_bytes(), relative.as_bytes()),
        })
    }

    /// Whether a file at this path inside `root` would stay out, itself or one of its folders.
    pub(crate) fn skips_path(&self, root: &Path, path: &Path) -> bool {
        let Ok(inside) = path.strip_prefix(root) else { return false };
        let mut relative = String::new();
        inside.components().any(|component| {
            if !relative.is_empty() {
                relative.push('/');
            }
            relative.push_str(&component.as_os_str().to_string_lossy());
            self.skips(&relative)
        })
    }
}

/// Compares with `*`. Backtracks to the last star only: linear in practice, quadratic at worst.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match (pattern.get(p), text.get(t)) {
            (Some(b'*'), _) => {
                star = Some((p, t));
                p += 1;
            }
            (Some(wanted), Some(got)) if wanted == got => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) if text.get(from) != Some(&b'/') => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                _ => return false,
            },
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|&byte| byte == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_litter_stays_out() {
        let usual = Exclusions::new(&[]);
        for out in [
            ".git",
            "a/.git",
            "a/__pycache__",
            "a/b.pyc",
            "venv",
            "target",
            "node_modules/.cache",
            "neap.toml",
        ] {
            assert!(usual.skips(out), "{out}");
        }
        for inside in ["app.py", "lib/target", "node_modules", "gitlab", "a/.github"] {
            assert!(!usual.skips(inside), "{inside}");
        }
        assert!(usual.clone().with_node_modules(false).skips("node_modules"));
    }

    #[test]
    fn own_patterns_are_names_or_paths() {
        let own = Exclusions::new(&["*.md".into(), "/data/*.bin".into(), "tests".into(), "docs/".into()]);
        for out in ["README.md", "a/b.md", "data/x.bin", "a/tests", "docs"] {
            assert!(own.skips(out), "{out}");
        }
        for inside in ["md", "a/data/x.bin", "data/x/y.bin", "a/docs", "tests.py"] {
            assert!(!own.skips(inside), "{inside}");
        }
    }

    #[test]
    fn stars_match_within_one_component() {
        assert!(matches(b"a*c*e", b"abcde"));
        assert!(matches(b"*", b""));
        assert!(!matches(b"a*b", b"a/b"));
        assert!(!matches(b"a*", b"b"));
    }

    #[test]
    fn a_path_below_an_excluded_folder_is_excluded() {
        let usual = Exclusions::new(&[]);
        assert!(usual.skips_path(Path::new("/p"), Path::new("/p/.git/objects/ab")));
        assert!(usual.skips_path(Path::new("/p"), Path::new("/p/target/debug/x")));
        assert!(!usual.skips_path(Path::new("/p"), Path::new("/p/src/x.py")));
    }
}
