//! `rustle-exec vault`: what `ansible-vault` does.

use std::fs;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::ansible_settings::AnsibleSettings;
use super::vault_args::{EncryptOptions, VaultCommand, VaultOptions, fetch, opening};
use super::{CliError, print};
use crate::exit_code::ExitCode;
use crate::prompt;
use crate::vault::{Desk, Secret, SecretSource, Vault, encrypt, is_encrypted};

/// Size of what is encrypted or decrypted.
const BYTES_MAX: u64 = 256 << 20;

/// Blanks before the lines of an encrypted string in YAML.
const INDENT: &str = "          ";

pub(super) fn run(command: VaultCommand) -> Result<ExitCode, CliError> {
    let ansible = AnsibleSettings::read_and_check()?;
    match command {
        VaultCommand::Encrypt { files, with, output } => {
            let secret = encrypting(&with, true)?;
            each(&files, output.as_deref(), ("Encryption successful", Mode::Private), |name, bytes| {
                if bytes.starts_with(crate::vault::HEADER.as_bytes()) {
                    return Err(CliError::own("input is already encrypted").hint(Some(format!("it is {name}"))));
                }
                sealed(&bytes, &secret).map(String::into_bytes)
            })
        }
        VaultCommand::Decrypt { files, vault, output } => {
            let vault = decrypting(&vault)?;
            let done = ("Decryption successful", Mode::Private);
            each(&files, output.as_deref(), done, |name, bytes| opened(&vault, name, bytes))
        }
        VaultCommand::View { files, vault } => {
            let vault = decrypting(&vault)?;
            for file in &files {
                let file = Some(file.as_path()).filter(|file| *file != Path::new("-"));
                let name = file.map_or_else(|| "-".to_owned(), |file| file.display().to_string());
                let plain = opened(&vault, &name, read(file)?)?;
                write_out(&plain)?;
            }
            Ok(ExitCode::Success)
        }
        VaultCommand::EncryptString { strings, with, name, stdin_name, prompt, show_input, output } => {
            let wants = Wanted { names: name, stdin_name, asked: prompt.then_some(show_input) };
            let secret = encrypting(&with, true)?;
            encrypt_strings(&wants.strings(strings)?, &secret, output.as_deref())
        }
        VaultCommand::Rekey { files, with, new_vault_id, new_vault_password_file } => {
            let vault = decrypting(&with.vault)?;
            let source = match (new_vault_id, new_vault_password_file) {
                (Some(id), _) => SecretSource::of_id(&id, ansible.vault().label()),
                (None, Some(file)) => SecretSource::of_file(&file, ansible.vault().label()),
                (None, None) => SecretSource::asked(ansible.vault().label()),
            };
            let secret = fetch(&[source], true)?.remove(0);
            each(&files, None, ("", Mode::Kept), |name, bytes| {
                sealed(&opened(&vault, name, bytes)?, &secret).map(String::into_bytes)
            })?;
            // Wherever standard output leads: there is nothing else that it could be mixed up with.
            say("Rekey successful");
            Ok(ExitCode::Success)
        }
        VaultCommand::Create { file, with, skip_tty_check } => create(&file, &with, skip_tty_check),
        VaultCommand::Edit { files, with } => {
            let vault = decrypting(&with.vault)?;
            files.iter().try_for_each(|file| edit(file, &vault, &with)).map(|()| ExitCode::Success)
        }
    }
}

fn create(file: &Path, with: &EncryptOptions, skips_tty_check: bool) -> Result<ExitCode, CliError> {
    if !skips_tty_check && !std::io::stdout().is_terminal() {
        return Err(CliError::input("not a tty, editor cannot be opened"));
    }
    let secret = encrypting(with, true)?;
    if file.exists() {
        return Err(CliError::own(format!("{} exists, please use 'edit' instead", file.display())));
    }
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
        say(&format!("{} does not exist, creating...", folder.display()));
        fs::create_dir_all(folder)
            .map_err(|error| CliError::own(format!("cannot make {}: {error}", folder.display())))?;
    }
    let text = edited(file, b"")?;
    replace(file, sealed(&text, &secret)?.as_bytes(), Mode::Kept)?;
    Ok(ExitCode::Success)
}

fn edit(file: &Path, vault: &Vault, with: &EncryptOptions) -> Result<(), CliError> {
    let name = file.display().to_string();
    let text = text_of(&name, read(Some(file))?)?;
    let (plain, label) = vault
        .decrypt_with(&text)
        .map_err(|error| CliError::own(format!("{error} for {name}")).hint(Some(error.hint())))?;
    let after = edited(file, &plain)?;
    if after != plain {
        // Under the password it had, unless another one is asked for.
        let wanted = with.encrypt_vault_id.clone().or(label);
        let secret = choose(vault.secrets(), wanted.as_deref())?;
        replace(file, sealed(&after, &secret)?.as_bytes(), Mode::Kept)?;
    }
    Ok(())
}

/// Runs `$EDITOR` on a private copy, which is gone when this ends, or this process.
fn edited(file: &Path, plain: &[u8]) -> Result<Vec<u8>, CliError> {
    let failed = |error: std::io::Error| CliError::own(format!("cannot edit {}: {error}", file.display()));
    let suffix = file.extension().map(|ending| format!(".{}", ending.to_string_lossy())).unwrap_or_default();
    let desk = Desk::new().map_err(failed)?;
    let mut copy = tempfile::Builder::new().suffix(&suffix).tempfile_in(desk.path()).map_err(failed)?;
    copy.write_all(plain).map_err(failed)?;
    let editor = AnsibleSettings::read().editor().unwrap_or_else(|| "vi".to_owned());
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let status = Command::new(program)
        .args(words)
        .arg(copy.path())
        .status()
        .map_err(|error| CliError::own(format!("cannot start the editor {program}: {error}")))?;
    if !status.success() {
        return Err(CliError::own(format!("the editor {program} ended with {status}; nothing was changed")));
    }
    fs::read(copy.path()).map_err(failed)
}

fn decrypting(options: &VaultOptions) -> Result<Vault, CliError> {
    let mut sources = options.sources();
    if sources.is_empty() {
        sources.push(SecretSource::asked(AnsibleSettings::read().vault().label()));
    }
    fetch(&sources, false).map(opening)
}

/// The password to encrypt with.
fn encrypting(options: &EncryptOptions, confirm: bool) -> Result<Secret, CliError> {
    let ansible = AnsibleSettings::read().vault();
    let mut sources = options.vault.sources();
    if sources.is_empty() {
        sources.push(SecretSource::asked(ansible.label()));
    }
    let wanted = options.encrypt_vault_id.as_ref().or(ansible.encrypts_with.as_ref());
    choose(&fetch(&sources, confirm)?, wanted.map(String::as_str))
}

fn choose(secrets: &[Secret], wanted: Option<&str>) -> Result<Secret, CliError> {
    let labels = |quote: &str, between: &str| {
        let labels = secrets.iter().map(|secret| format!("{quote}{}{quote}", secret.label()));
        labels.collect::<Vec<_>>().join(between)
    };
    match (wanted, secrets) {
        (Some(label), _) => secrets.iter().find(|secret| secret.label() == label).cloned().ok_or_else(|| {
            CliError::own(format!(
                "Did not find a match for --encrypt-vault-id={label} in the known vault-ids [{}]",
                labels("'", ", ")
            ))
        }),
        (None, [only]) => Ok(only.clone()),
        (None, _) => Err(CliError::input(format!(
            "The vault-ids {} are available to encrypt. Specify the vault-id to encrypt with --encrypt-vault-id",
            labels("", ",")
        ))),
    }
}

fn sealed(plain: &[u8], secret: &Secret) -> Result<String, CliError> {
    let label = Some(secret.label()).filter(|label| *label != "default");
    encrypt(plain, secret.password(), label).map_err(|error| CliError::own(format!("no random numbers: {error}")))
}

fn opened(vault: &Vault, name: &str, bytes: Vec<u8>) -> Result<Vec<u8>, CliError> {
    let text = text_of(name, bytes)?;
    vault.decrypt(&text).map_err(|error| CliError::own(format!("{error} for {name}")).hint(Some(error.hint())))
}

fn text_of(name: &str, bytes: Vec<u8>) -> Result<String, CliError> {
    let text = String::from_utf8(bytes).ok().filter(|text| is_encrypted(text));
    text.ok_or_else(|| CliError::own(format!("Input is not vault encrypted data. for {name}")))
}

/// Changes each file in place, or writes what becomes of it to `output`; without files, standard input.
fn each(
    files: &[PathBuf],
    output: Option<&Path>,
    (done, mode): (&str, Mode),
    change: impl Fn(&str, Vec<u8>) -> Result<Vec<u8>, CliError>,
) -> Result<ExitCode, CliError> {
    if files.len() > 1 && output.is_some() {
        return Err(CliError::input("At most one input file may be used with the --output option"));
    }
    let inputs: Vec<Option<&Path>> = match files {
        [] => vec![None],
        files => files.iter().map(|file| Some(file.as_path()).filter(|file| *file != Path::new("-"))).collect(),
    };
    for input in inputs {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let name = input.map_or_else(|| "-".to_owned(), |path| absolute(path).display().to_string());
        let changed = change(&name, read(input)?)?;
        match output.or(input).filter(|path| *path != Path::new("-")) {
            Some(path) => replace(path, &changed, mode)?,
            None => write_out(&changed)?,
        }
    }
    say_done(done);
    Ok(ExitCode::Success)
}

/// Says on a terminal that all is done. Elsewhere it could be taken for a part of what was asked for.
fn say_done(done: &str) {
    if std::io::stdout().is_terminal() && !done.is_empty() {
        say(done);
    }
}

fn say(done: &str) {
    // There is nowhere left to say that this cannot be said.
    let _ = writeln!(std::io::stderr(), "{done}");
}

fn read(path: Option<&Path>) -> Result<Vec<u8>, CliError> {
    let failed = |error: std::io::Error| match path {
        None => CliError::own(format!("cannot read standard input: {error}")),
        Some(path) => {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            CliError::own(format!("Unable to read source file ({}): {error}", path.display()))
        }
    };
    let mut bytes = Vec::new();
    match path {
        Some(path) => fs::File::open(path).map_err(failed)?.take(BYTES_MAX).read_to_end(&mut bytes),
        None => std::io::stdin().lock().take(BYTES_MAX).read_to_end(&mut bytes),
    }
    .map_err(failed)?;
    Ok(bytes)
}

fn write_out(bytes: &[u8]) -> Result<(), CliError> {
    let written = std::io::stdout().lock().write_all(bytes);
    written.map_err(|error| CliError::own(format!("cannot write to standard output: {error}")))
}

/// Who may read a file that takes the place of another.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    /// Whoever could before; a new one is its owner's alone.
    Kept,
    /// Its owner alone.
    Private,
}

/// Puts a file in the place of another in one step. What is no file, `/dev/stdout` say, is written to.
fn replace(path: &Path, bytes: &[u8], mode: Mode) -> Result<(), CliError> {
    let failed = |error: std::io::Error| CliError::own(format!("cannot write {}: {error}", path.display()));
    if fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
        let mut device = fs::OpenOptions::new().write(true).open(path).map_err(failed)?;
        return device.write_all(bytes).map_err(failed);
    }
    // Through a link to the file itself.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".vault-").tempfile_in(folder).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    if let (Ok(meta), Mode::Kept) = (fs::metadata(&path), mode) {
        file.as_file().set_permissions(meta.permissions()).map_err(failed)?;
    }
    file.as_file().sync_all().map_err(failed)?;
    file.persist(&path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// A string that is to be encrypted: the variable that is to hold it, the string, and where it is from.
struct Named {
    name: Option<String>,
    text: Vec<u8>,
    from: &'static str,
}

/// Where the strings are to be had that are encrypted, and what their variables are called.
struct Wanted {
    names: Vec<String>,
    stdin_name: Option<String>,
    /// One is asked for, and shown while it is typed or not.
    asked: Option<bool>,
}

impl Wanted {
    fn strings(self, strings: Vec<String>) -> Result<Vec<Named>, CliError> {
        let reads_stdin = self.stdin_name.is_some() || strings.iter().any(|text| text == "-");
        if self.asked.is_some() && reads_stdin {
            return Err(CliError::input("The --prompt option is not supported if also reading input from stdin"));
        }
        let mut all: Vec<Named> = Vec::new();
        let mut names = self.names.into_iter();
        if let Some(shown) = self.asked {
            let failed = |error| CliError::own(format!("cannot ask for the string: {error}"));
            let name = match names.next() {
                None => prompt::text("Variable name (enter for no name): ").map_err(failed)?,
                Some(name) => name,
            };
            let answer = match shown {
                true => prompt::text("String to encrypt: "),
                false => prompt::secret("String to encrypt (hidden): "),
            };
            let text = some(
                answer.map_err(failed)?.into(),
                "The plaintext provided from the prompt was empty, not encrypting",
            )?;
            all.push(Named { name: Some(name).filter(|name| !name.is_empty()), text, from: "the interactive prompt" });
        }
        if reads_stdin || (strings.is_empty() && self.asked.is_none()) {
            let text = some(read(None)?, "stdin was empty, not encrypting")?;
            all.push(Named { name: self.stdin_name, text, from: "stdin" });
        }
        let strings: Vec<String> = strings.into_iter().filter(|text| text != "-").collect();
        if names.len() > 0 && names.len() < strings.len() {
            say("The number of --name options do not match the number of args.");
            let last = names.as_slice().last().map(String::as_str).unwrap_or_default();
            say(&format!("The last named variable will be \"{last}\". The rest will not have names."));
        }
        for text in strings {
            let empty = "The plaintext provided from the command line args was empty, not encrypting";
            all.push(Named { name: names.next(), text: some(text.into(), empty)?, from: "the command line args" });
        }
        Ok(all)
    }
}

fn encrypt_strings(all: &[Named], secret: &Secret, output: Option<&Path>) -> Result<ExitCode, CliError> {
    let mut text = String::new();
    for (number, named) in all.iter().enumerate() {
        if all.len() > 1 {
            say(&told(named, number + 1));
        }
        text.push_str(&tagged(named.name.as_deref(), &named.text, secret)?);
        text.push('\n');
    }
    match output {
        Some(path) if path != Path::new("-") => replace(path, text.as_bytes(), Mode::Private)?,
        _ => drop(print(&text)?),
    }
    say_done("Encryption successful");
    Ok(ExitCode::Success)
}

/// Which of several strings comes next, in Ansible's words.
fn told(Named { name, from, .. }: &Named, number: usize) -> String {
    match name {
        Some(name) => format!("# The encrypted version of variable (\"{name}\", the string #{number} from {from})."),
        None => format!("# The encrypted version of the string #{number} from {from}.)"),
    }
}

/// # Errors
/// `empty`, of text that is.
fn some(text: Vec<u8>, empty: &str) -> Result<Vec<u8>, CliError> {
    if text.is_empty() { Err(CliError::input(empty)) } else { Ok(text) }
}

/// `name: !vault |` and the encrypted text below it.
fn tagged(name: Option<&str>, text: &[u8], secret: &Secret) -> Result<String, CliError> {
    let sealed = sealed(text, secret)?;
    let lines: Vec<String> = sealed.lines().map(|line| format!("{INDENT}{line}")).collect();
    let head = name.map(|name| format!("{name}: ")).unwrap_or_default();
    Ok(format!("{head}!vault |\n{}", lines.join("\n")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn wanted(names: &[&str]) -> Wanted {
        Wanted { names: names.iter().map(|name| (*name).to_owned()).collect(), stdin_name: None, asked: None }
    }

    #[test]
    fn strings_have_the_names_in_their_order_and_the_rest_have_none() {
        let all = wanted(&["a"]).strings(vec!["one".to_owned(), "two".to_owned()]).unwrap();
        let told: Vec<String> = all.iter().enumerate().map(|(number, named)| told(named, number + 1)).collect();
        assert_eq!(
            told,
            [
                "# The encrypted version of variable (\"a\", the string #1 from the command line args).",
                "# The encrypted version of the string #2 from the command line args.)"
            ]
        );
    }

    #[test]
    fn a_string_is_asked_for_or_read_and_never_both() {
        let both = Wanted { stdin_name: Some("x".to_owned()), asked: Some(false), ..wanted(&[]) };
        assert!(both.strings(Vec::new()).is_err_and(|error| error.message.starts_with("The --prompt option")));
        assert!(wanted(&[]).strings(vec![String::new()]).is_err_and(|error| error.message.contains("was empty")));
    }

    #[test]
    fn what_is_encrypted_or_decrypted_is_its_owners_alone_and_what_is_rekeyed_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        for (mode, expected) in [(Mode::Kept, 0o640), (Mode::Private, 0o600)] {
            let path = folder.path().join("file");
            fs::write(&path, "before").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
            replace(&path, b"after", mode).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, expected);
            assert_eq!(fs::read(&path).unwrap(), b"after");
        }
    }
}
