//! The files of a role: tasks, handlers, variables, what it depends on.

use std::path::{Path, PathBuf};

use super::error::PlaybookError;

/// Endings of YAML files, in the order they are tried.
const ENDINGS: [&str; 3] = [".yml", ".yaml", ".json"];

/// Folders within `vars/main/` and its like.
const FOLDER_DEPTH_MAX: usize = 8;

/// The file or files that a role has for `folder`: `main` with one of the endings, or the one asked for by name. In folders
/// of variables, `main` may be a folder of files.
///
/// # Errors
/// A file that was asked for and is not among others in the folder, or one that lies outside of the role.
pub(super) fn find(
    role: &Path,
    folder: &str,
    asked: Option<&str>,
    may_be_folder: bool,
) -> Result<Vec<PathBuf>, PlaybookError> {
    let inside = role.join(folder);
    let names: Vec<String> = match asked {
        Some(name) => [""].iter().chain(&ENDINGS).map(|ending| format!("{name}{ending}")).collect(),
        None => ENDINGS.iter().chain(&[""]).map(|ending| format!("main{ending}")).collect(),
    };
    for name in names {
        let path = inside.join(&name);
        if path.is_dir() {
            if may_be_folder {
                let mut files = Vec::new();
                collect(&path, 0, &mut files)?;
                return Ok(files);
            }
        } else if path.exists() {
            if asked.is_some() && !is_inside(&path, &inside) {
                let what = format!("it is not inside the role's folder {}", inside.display());
                return Err(PlaybookError::whole(&path, what));
            }
            return Ok(vec![path]);
        }
    }
    match asked {
        // As in Ansible, a role without the folder has nothing of its kind, whatever is asked for.
        Some(name) if inside.is_dir() => {
            let what = format!("Could not find specified file in role: {folder}/{name}");
            Err(PlaybookError::whole(role, what))
        }
        _ => Ok(Vec::new()),
    }
}

/// Links are not followed: a role may be linked to from elsewhere as a whole.
fn is_inside(path: &Path, folder: &Path) -> bool {
    let mut depth = 0_i64;
    let Ok(rest) = path.strip_prefix(folder) else { return false };
    for part in rest.components() {
        match part {
            std::path::Component::ParentDir => depth -= 1,
            std::path::Component::Normal(_) => depth += 1,
            _ => {}
        }
        if depth < 0 {
            return false;
        }
    }
    true
}

/// Every file of variables below a folder, by name.
fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), PlaybookError> {
    if depth >= FOLDER_DEPTH_MAX {
        return Err(PlaybookError::whole(folder, format!("folders nest deeper than {FOLDER_DEPTH_MAX} levels here")));
    }
    let failed = |source| PlaybookError::read(folder, source);
    let entries = std::fs::read_dir(folder).map_err(failed)?;
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>().map_err(failed)?;
    paths.sort();
    for path in paths {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with('.') || name.ends_with('~') {
            continue;
        }
        if path.is_dir() {
            collect(&path, depth + 1, files)?;
        } else if path.extension().is_none() || ENDINGS.iter().any(|ending| name.ends_with(ending)) {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(role: &Path, folder: &str, asked: Option<&str>) -> Result<Vec<String>, String> {
        let shown = |path: PathBuf| path.strip_prefix(role).unwrap().display().to_string();
        find(role, folder, asked, folder == "vars")
            .map(|paths| paths.into_iter().map(shown).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn main_is_a_file_and_for_variables_also_a_folder() {
        let role = tempfile::tempdir().unwrap();
        let write = |path: &str| {
            let path = role.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        };
        for path in ["tasks/main.yaml", "tasks/other.yml", "vars/main/b.yml", "vars/main/a.yml", "vars/main/.x.yml"] {
            write(path);
        }
        let role = role.path();
        assert_eq!(found(role, "tasks", None).unwrap(), ["tasks/main.yaml"]);
        assert_eq!(found(role, "tasks", Some("other")).unwrap(), ["tasks/other.yml"]);
        assert_eq!(found(role, "tasks", Some("other.yml")).unwrap(), ["tasks/other.yml"]);
        assert_eq!(found(role, "vars", None).unwrap(), ["vars/main/a.yml", "vars/main/b.yml"]);
        assert_eq!(found(role, "handlers", None).unwrap(), Vec::<String>::new());
        assert!(
            found(role, "tasks", Some("none"))
                .unwrap_err()
                .ends_with("Could not find specified file in role: tasks/none")
        );
        assert!(found(role, "vars", Some("none")).is_err());
        assert_eq!(found(role, "handlers", Some("none")).unwrap(), Vec::<String>::new());
        std::fs::write(role.join("secret.yml"), "").unwrap();
        assert!(found(role, "tasks", Some("../secret.yml")).is_err());
    }
}
