use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use proptest::prelude::*;
use rustle_protocol::value::Map;

use super::show::{Format, View};
use super::*;
use crate::vault::Secret;

/// A folder with these files, and the inventory that the first (or the folder, for `""`) makes.
struct Files(tempfile::TempDir);

impl Files {
    fn of(files: &[(&str, &str)]) -> Files {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
        }
        Files(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn load(&self, sources: &[&str]) -> Result<Inventory, InventoryError> {
        let sources: Vec<_> = sources.iter().map(|source| self.path().join(source)).collect();
        Inventory::load(&sources, Limits::default())
    }
}

fn ini(text: &str) -> Inventory {
    Files::of(&[("hosts.ini", text)]).load(&["hosts.ini"]).unwrap()
}

fn yml(text: &str) -> Inventory {
    Files::of(&[("hosts.yml", text)]).load(&["hosts.yml"]).unwrap()
}

/// The message, without the folder in front of the file's name, and the hint.
fn refusal(name: &str, text: &str) -> String {
    let files = Files::of(&[(name, text)]);
    let error = files.load(&[name]).unwrap_err();
    let message = error.to_string().replace(&format!("{}/", files.path().display()), "");
    error.hint().map_or(message.clone(), |hint| format!("{message} ({hint})"))
}

fn written(vars: &VarMap) -> Map {
    vars.iter().map(|(name, variable)| (name.clone(), variable.source())).collect()
}

fn vars(inventory: &Inventory, host: &str) -> String {
    let mut vars = written(&inventory.merged_vars(inventory.host_id(host).unwrap()));
    vars.sort_keys();
    Value::Map(vars).to_json()
}

fn chosen(inventory: &Inventory, pattern: &str) -> String {
    match select(inventory, pattern) {
        Ok(hosts) => hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(" "),
        Err(error) => format!("error: {error}"),
    }
}

/// As ansible-core 2.19 answers with `ANSIBLE_HASH_BEHAVIOUR=merge`.
#[test]
fn dicts_of_one_name_are_merged_over_sources_files_and_folders_if_that_is_wanted() {
    let files = Files::of(&[
        ("inv/hosts", "[web]\na\n"),
        ("inv/group_vars/all/1.yml", "d: {inv1: 1, who: inv1}\n"),
        ("inv/group_vars/all/2.yml", "d: {inv2: 1, who: inv2}\n"),
        ("group_vars/web/1.yml", "d: {web1: 1, who: web1}\n"),
        ("group_vars/web/2.yml", "d: {web2: 1, who: web2}\n"),
        ("host_vars/a/1.yml", "d: {deep: {a: 1}, who: a1}\n"),
        ("host_vars/a/2.yml", "d: {deep: {b: 1}, who: a2}\n"),
    ]);
    let sources = [files.path().join("inv/hosts")];
    let read = |merges_dicts| {
        let rules = Rules { merges_dicts, ..Rules::default() };
        let vault = Vault::default();
        let read = Inventory::load_with(&sources, Limits::default(), rules, &vault, Some(files.path()));
        let Some(Value::Map(mut d)) = written(&read.unwrap().merged_vars(HostId(0))).shift_remove("d") else {
            panic!("no dict")
        };
        d.sort_keys();
        Value::Map(d).to_json()
    };
    assert_eq!(read(false), r#"{"deep":{"b":1},"who":"a2"}"#);
    assert_eq!(read(true), r#"{"deep":{"a":1,"b":1},"inv1":1,"inv2":1,"web1":1,"web2":1,"who":"a2"}"#);
}

#[test]
fn hosts_and_groups_are_named_in_any_script() {
    let inventory = ini("[ĪīĬĭ]\nhost-fóöbär\nхост[1:2] x=1\n");
    assert_eq!(chosen(&inventory, "ĪīĬĭ:!хост1"), "host-fóöbär хост2");
    assert_eq!(vars(&inventory, "хост2"), r#"{"x":1}"#);
}

const SITE: &str = r#"
lone ansible_host=10.0.0.1 x="1" y="'a b'" z=[1,2] w=1.5 b=True n=None m=hello q="a b" t=0755 c=yes # comment
lone2:2222
[web]
web[01:04:2] http_port=8080
z9
[db]
db-[a:c]
web01
[site:children]
web
db
[site:vars]
a = 5 # foo
b = "x y"
c = hello # foo
d = {'k': [1, 2]}
[web:vars]
a=web
[empty]
"#;

#[test]
fn an_ini_file_reads_as_ansible_reads_it() {
    let inventory = ini(SITE);
    let names: Vec<_> = inventory.hosts().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["lone", "lone2", "web01", "web03", "z9", "db-a", "db-b", "db-c"]);
    assert_eq!(
        vars(&inventory, "lone"),
        r#"{"ansible_host":"10.0.0.1","b":true,"c":"yes","m":"hello","n":null,"q":"a b","t":"0755","w":1.5,"x":1,"y":"a b","z":[1,2]}"#
    );
    assert_eq!(vars(&inventory, "lone2"), r#"{"ansible_port":2222}"#);
    assert_eq!(
        vars(&inventory, "web01"),
        r#"{"a":"web","b":"x y","c":"hello # foo","d":{"k":[1,2]},"http_port":8080}"#
    );
    assert_eq!(vars(&inventory, "db-c"), r#"{"a":5,"b":"x y","c":"hello # foo","d":{"k":[1,2]}}"#);
}

/// Compared with `ansible HOSTS --list-hosts` of ansible-core 2.19.
#[test]
fn patterns_choose_the_hosts_ansible_chooses_in_its_order() {
    let inventory = ini(SITE);
    let everybody = "lone lone2 web01 web03 z9 db-a db-b db-c";
    for (pattern, hosts) in [
        ("all", everybody),
        ("*", everybody),
        ("web:db", "web01 web03 z9 db-a db-b db-c"),
        ("site:!web", "db-a db-b db-c"),
        ("!web", "lone lone2 db-a db-b db-c"),
        ("db:&web", "web01"),
        ("db[0]", "db-a"),
        ("db[-1]", "web01"),
        ("db[0:1]", "db-a db-b"),
        ("site[1:]", "web03 z9 db-a db-b db-c"),
        ("~z", "z9"),
        ("~db-[ac]$", "db-a db-c"),
        ("*b*", "web01 web03 z9 db-a db-b db-c"),
        ("w*,lone", "web01 web03 z9 lone"),
        ("lone,lone", "lone"),
        ("ungrouped", "lone lone2"),
        ("localhost", "localhost"),
        ("web?3,!web03,z9", "z9"),
    ] {
        assert_eq!(chosen(&inventory, pattern), hosts, "{pattern}");
    }
}

#[test]
fn a_pattern_that_means_nobody_is_an_error_and_never_everybody() {
    let inventory = ini(SITE);
    for (pattern, error) in [
        ("wbe01", "no host or group is called `wbe01`"),
        ("all:!databases", "no host or group is called `databases`"),
        ("web:!web", "the pattern `web:!web` matches no host"),
        ("empty", "the pattern `empty` matches no host"),
        ("nothing*", "the pattern `nothing*` matches no host"),
        ("", "the pattern `` matches no host"),
        (",", "the pattern `,` matches no host"),
        ("db[9]", "`db[9]` asks for more than the 4 hosts of `db`, which are numbered from 0"),
    ] {
        assert_eq!(chosen(&inventory, pattern), format!("error: {error}"), "{pattern}");
    }
    assert_eq!(select(&inventory, "wbe01").unwrap_err().hint().unwrap(), "did you mean `web01`?");
    assert_eq!(select(&inventory, "dbs").unwrap_err().hint().unwrap(), "did you mean `db`?");
    assert!(chosen(&inventory, "~(").starts_with("error: `~(` is not a pattern: "));
    let nobody = Inventory::load(&[], Limits::default()).unwrap();
    assert_eq!(chosen(&nobody, "all"), "error: the inventory holds no host, so `all` matches none");
    assert_eq!(chosen(&nobody, "localhost"), "localhost");
}

#[test]
fn a_limit_may_come_from_a_file() {
    let inventory = ini(SITE);
    let files = Files::of(&[("retry", "web01\n# no longer\n\ndb-[0:1]\nz9\n")]);
    let file = format!("@{}", files.path().join("retry").display());
    let error = limit(&inventory, &file).unwrap_err();
    assert_eq!(error.to_string(), "no host or group is called `db-`");
    fs::write(files.path().join("retry"), "web01\n# no longer\n\ndb[0:1]\n").unwrap();
    let names = |pattern: &str| limit(&inventory, pattern).unwrap().iter().map(HostName::to_string).collect::<Vec<_>>();
    assert_eq!(names(&file), ["web01", "db-a", "db-b"]);
    assert_eq!(names(&format!("{file},!db-b")), ["web01", "db-a"]);
    assert!(limit(&inventory, "@/nowhere/x").unwrap_err().to_string().starts_with("/nowhere/x: "));
    fs::write(files.path().join("retry"), "\n").unwrap();
    assert!(matches!(limit(&inventory, &file), Err(PatternError::Empty { .. })));
}

/// Compared with `ansible all --list-hosts` of ansible-core 2.19.
#[test]
fn all_goes_through_the_groups_level_by_level() {
    let inventory = ini("u1\n[top:children]\na\nb\n[a]\na1\n[b]\nb1\n[a:children]\nc\n[c]\nc1\n[a]\na2\n[d]\nc1\nu1\n");
    assert_eq!(chosen(&inventory, "all"), "c1 u1 a1 a2 b1");
    assert_eq!(chosen(&inventory, "top"), "a1 a2 b1 c1");
}

#[test]
fn a_yaml_file_reads_as_ansible_reads_it() {
    let inventory = yml("
all:
  hosts:
    one: {p: 010}
    'n[1:2]':
      k: yes
  children:
    site:
      children:
        web: {hosts: {one: , two: {x: 1}}, vars: {a: web, b: web}}
      vars: {a: site, c: site}
    single: {hosts: two}
");
    assert_eq!(vars(&inventory, "one"), r#"{"a":"web","b":"web","c":"site","p":8}"#);
    assert_eq!(vars(&inventory, "n2"), r#"{"k":true}"#);
    assert_eq!(
        show::graph(&inventory, GroupId::ALL, false).unwrap(),
        "@all:\n  |--@ungrouped:\n  |  |--n1\n  |  |--n2\n  |--@site:\n  |  |--@web:\n  |  |  |--one\n  |  |  |--two\n  |--@single:\n  |  |--two\n"
    );
}

#[test]
fn deeper_groups_win_then_priority_then_the_later_name() {
    let inventory = ini("
[b]
h
[a]
h
[c]
h
[top:children]
c
[all:vars]
v=all
w=all
x=all
y=all
[top:vars]
w=top
[a:vars]
x=a
y=a
ansible_group_priority=10
[b:vars]
x=b
y=b
[c:vars]
y=c
");
    let host = inventory.host_id("h").unwrap();
    let names: Vec<_> = inventory.host(host).groups.iter().map(|id| &*inventory.group(*id).name).collect();
    assert_eq!(names, ["all", "b", "top", "a", "c"]);
    assert_eq!(vars(&inventory, "h"), r#"{"v":"all","w":"top","x":"a","y":"c"}"#);
}

#[test]
fn vars_files_beside_the_inventory_win_over_it() {
    let files = Files::of(&[
        ("hosts", "[web]\nh1 v=inline\nh2\n[web:vars]\na=inline\nb=inline\nc=inline\n"),
        ("group_vars/all.yml", "b: file-all\nc: file-all\n"),
        ("group_vars/web/10.yml", "c: first\nd: first\n"),
        ("group_vars/web/20", "d: second\n"),
        ("group_vars/web/.hidden", "d: hidden\n"),
        ("group_vars/web/x.txt", "d: text\n"),
        ("group_vars/nobody.yml", "]["),
        ("host_vars/h1.json", r#"{"v": "file", "w": [1]}"#),
        ("host_vars/h1.yml", "# the first extension counts\n"),
    ]);
    let inventory = files.load(&["hosts"]).unwrap();
    assert_eq!(vars(&inventory, "h2"), r#"{"a":"inline","b":"file-all","c":"first","d":"second"}"#);
    assert_eq!(vars(&inventory, "h1"), r#"{"a":"inline","b":"file-all","c":"first","d":"second","v":"inline"}"#);
    let host = inventory.host_id("h1").unwrap();
    assert_eq!(inventory.var(host, "d").map(Variable::source), Some(Value::from("second")));
}

/// Compared with `ansible-inventory -i FOLDER --list` of ansible-core 2.19.
#[test]
fn a_folder_is_all_its_sources_by_name() {
    let files = Files::of(&[
        ("01b", "[b]\nh1\nh2\n"),
        ("02a.yml", "a:\n  hosts:\n    h1:\n      v: {x: 1}\n    h3:\n  children:\n    b:\n      vars: {p: 1}\n"),
        ("c.ini", "[c]\nhx\n"),
        (".hidden", "[c]\nhy\n"),
        ("foo~", "[c]\nhz\n"),
        ("old.cfg", "[c]\nhz\n"),
        ("sub/hosts", "subhost\n"),
        ("group_vars/all", "k: file\n"),
        ("group_vars/b.yml", "k: web\n"),
        ("host_vars/h1.json", r#"{"h":"json"}"#),
    ]);
    let inventory = files.load(&[""]).unwrap();
    insta::assert_snapshot!(show::graph(&inventory, GroupId::ALL, false).unwrap(), @r"
    @all:
      |--@ungrouped:
      |  |--subhost
      |--@a:
      |  |--@b:
      |  |  |--h1
      |  |  |--h2
      |  |--h1
      |  |--h3
      |--@c:
      |  |--hx
    ");
    assert_eq!(vars(&inventory, "h1"), r#"{"h":"json","k":"web","p":1,"v":{"x":1}}"#);
    assert_eq!(vars(&inventory, "subhost"), r#"{"k":"file"}"#);
}

#[test]
fn several_sources_are_one_inventory_and_the_later_wins() {
    let files = Files::of(&[("a.ini", "[web]\nh1 v=1 w=1\n"), ("b.yml", "web:\n  hosts:\n    h2:\n    h1: {v: 2}\n")]);
    let inventory = files.load(&["a.ini", "b.yml"]).unwrap();
    assert_eq!(chosen(&inventory, "web"), "h1 h2");
    assert_eq!(vars(&inventory, "h1"), r#"{"v":2,"w":1}"#);
}

#[test]
fn a_host_knows_the_file_that_named_it_first() {
    let files = Files::of(&[("a.ini", "h1\n"), ("b.ini", "h1\nh2\n")]);
    let inventory = files.load(&["a.ini", "b.ini"]).unwrap();
    let source = |name| inventory.host(inventory.host_id(name).unwrap()).source.clone().unwrap();
    assert!(source("h1").ends_with("/a.ini") && source("h2").ends_with("/b.ini"));
    assert!(Path::new(&*source("h1")).is_absolute());
}

#[test]
fn a_list_with_a_comma_is_an_inventory() {
    let inventory = Inventory::load(&["web1,web2".into(), "x,".into()], Limits::default()).unwrap();
    assert_eq!(chosen(&inventory, "all"), "web1 web2 x");
    assert_eq!(chosen(&inventory, "ungrouped"), "web1 web2 x");
}

fn executable(files: &Files, name: &str) {
    fs::set_permissions(files.path().join(name), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_script_prints_the_inventory() {
    let list = r#"{"g":["a","b"],"k":{"hosts":["c"],"vars":{"x":"1"},"children":["g"]},"leg":{"foo":1}}"#;
    let script =
        format!("#!/bin/sh\nif [ \"$1\" = --list ]; then echo '{list}'; else echo \"{{\\\"n\\\":\\\"$2\\\"}}\"; fi\n");
    let with_meta = r#"#!/bin/sh
[ "$1" = --list ] || exit 3
echo '{"_meta":{"hostvars":{"m":{"x":[1,{"y":null}]}}},"g":{"hosts":["m"]}}'
"#;
    let files = Files::of(&[("old.sh", &script), ("new.sh", with_meta), ("hosts", "plain\n")]);
    for name in ["old.sh", "new.sh", "hosts"] {
        executable(&files, name);
    }
    let inventory = files.load(&["old.sh"]).unwrap();
    assert_eq!(vars(&inventory, "a"), r#"{"n":"a","x":"1"}"#);
    assert_eq!(vars(&inventory, "leg"), r#"{"foo":1,"n":"leg"}"#);
    assert_eq!(chosen(&inventory, "k"), "c a b");
    assert_eq!(vars(&files.load(&["new.sh"]).unwrap(), "m"), r#"{"x":[1,{"y":null}]}"#);
    assert_eq!(chosen(&files.load(&["hosts"]).unwrap(), "all"), "plain", "executable text is no program");
}

#[test]
fn a_script_speaks_of_the_hosts_of_its_groups_alone() {
    let list = r#"{"g":["a"],"_meta":{"hostvars":{"a":{"x":1},"b":{"x":1},"c":{"x":1}}}}"#;
    let meta = format!("#!/bin/sh\necho '{list}'\n");
    let asked = "#!/bin/sh\nif [ \"$1\" = --list ]; then echo '{\"g\":[\"a\"]}'; else echo '{\"y\":2}'; fi\n";
    let files = Files::of(&[("meta.sh", &meta), ("asked.sh", asked), ("hosts", "b\n")]);
    executable(&files, "meta.sh");
    executable(&files, "asked.sh");
    let inventory = files.load(&["hosts", "meta.sh", "asked.sh"]).unwrap();
    assert_eq!(chosen(&inventory, "all"), "b a");
    assert_eq!(vars(&inventory, "a"), r#"{"x":1,"y":2}"#);
    assert_eq!(vars(&inventory, "b"), "{}");
}

#[test]
fn what_a_folder_of_sources_holds_beside_them_is_the_users_choice() {
    let files = Files::of(&[("i/a", "a\n"), ("i/b.md", "b\n"), ("i/c.old", "c\n"), ("i/x1", "x\n"), ("i/.h", "h\n")]);
    let patterns = vec![fancy_regex::Regex::new("^x").unwrap()];
    let ignored = Ignored { endings: vec![".old".to_owned()], patterns }.into();
    let rules = Rules { ignored, ..Rules::default() };
    let sources = [files.path().join("i")];
    let inventory = Inventory::load_with(&sources, Limits::default(), rules, &Vault::default(), None).unwrap();
    assert_eq!(chosen(&inventory, "all"), "a b");
}

#[test]
fn a_source_that_cannot_be_read_is_left_out_if_that_is_wanted() {
    let files = Files::of(&[
        ("good", "a x=1\n"),
        ("bad", "[g]\na x=2\n[g:foo]\n"),
        ("sealed", "$ANSIBLE_VAULT;1.1;AES256\n00\n"),
        ("folder/1", "a x=3\n"),
        ("folder/2", "[broken\n"),
        ("folder/deep/3", "[g:foo]\n"),
        ("folder/deep/4", "b\n"),
    ]);
    let load = |names: &[&str]| {
        let sources: Vec<_> = names.iter().map(|name| files.path().join(name)).collect();
        let rules = Rules { skips_unread: true, ..Rules::default() };
        Inventory::load_with(&sources, Limits::default(), rules, &Vault::default(), None)
    };
    let inventory = load(&["bad", "good", "nowhere"]).unwrap();
    assert_eq!(vars(&inventory, "a"), r#"{"x":1}"#);
    assert!(inventory.group_id("g").is_none(), "nothing of it is left");
    let [bad, nowhere] = inventory.warnings() else { panic!("{:?}", inventory.warnings()) };
    assert!(bad.contains("bad:3:4: `foo` is not a kind of section"), "{bad}");
    assert!(nowhere.contains("nowhere: cannot be read: No such file"), "{nowhere}");
    let folder = load(&["folder"]).unwrap();
    assert_eq!((chosen(&folder, "all"), folder.warnings().len()), ("a b".to_owned(), 2), "only two files are left out");
    assert!(matches!(load(&["good", "sealed"]), Err(InventoryError::Sealed { .. })));
    assert!(files.load(&["good", "bad"]).is_err());
}

#[test]
fn a_pattern_may_be_separated_by_space_and_has_a_name_behind_every_sign() {
    let inventory = ini("[web]\nw1\nw2\n[db]\nd1\n");
    assert_eq!(chosen(&inventory, "db w1"), "d1 w1");
    assert_eq!(chosen(&inventory, "web !w1"), "w2");
    for pattern in ["!", "web:!", "web:! w1", "web,&"] {
        let error = select_known(&inventory, pattern).unwrap_err();
        assert!(error.to_string().contains("no name stands behind"), "{error}");
    }
}

#[test]
fn globs_are_those_of_a_shell_and_find_hosts_in_order_of_appearance() {
    let inventory = ini("z1\n[p:children]\nweb\n[web]\nw1\nw2\n[db]\nd1\n");
    for (pattern, hosts) in [
        ("*1", "z1 w1 d1"),
        ("~.*1", "z1 w1 d1"),
        ("[wd]1", "w1 d1"),
        ("[!w]1", "z1 d1"),
        ("w[2-1]", ""),
        ("w[0:-1]", ""),
        ("w[12", ""),
        ("w{1,2}*", ""),
        ("w?", "w1 w2"),
        ("[]w]1", "w1"),
    ] {
        let (found, _) = select_known(&inventory, pattern).unwrap();
        let found: Vec<_> = found.iter().map(HostName::as_str).collect();
        assert_eq!(found.join(" "), hosts, "{pattern}");
    }
}

#[test]
fn a_script_that_fails_says_what_it_said() {
    let files = Files::of(&[
        ("inv.sh", "#!/bin/sh\necho 'no cloud today' >&2\nexit 7\n"),
        ("json.sh", "#!/bin/sh\necho '{'\n"),
    ]);
    executable(&files, "inv.sh");
    executable(&files, "json.sh");
    let error = files.load(&["inv.sh"]).unwrap_err();
    assert!(error.to_string().ends_with("inv.sh: --list ended with exit status: 7: no cloud today"), "{error}");
    let error = files.load(&["json.sh"]).unwrap_err().to_string();
    assert!(error.ends_with("json.sh:2:1: EOF while parsing an object"), "{error}");
}

#[test]
fn a_scripts_saved_output_and_json_of_the_yaml_shape_are_read() {
    let files = Files::of(&[
        ("saved.json", r#"{"_meta": {"hostvars": {}}, "g": {"hosts": ["a"]}}"#),
        ("shaped.json", r#"{"all": {"hosts": {"b": {"x": 1}}}}"#),
        ("noext", r#"{"g": ["c"]}"#),
    ]);
    let inventory = files.load(&["saved.json", "shaped.json", "noext"]).unwrap();
    assert_eq!(chosen(&inventory, "all"), "b a c");
}

#[test]
fn what_was_listed_can_be_read_again_in_every_format() {
    let inventory = ini(SITE);
    for (name, format) in [("saved.json", Format::Json), ("saved.yml", Format::Yaml), ("saved.toml", Format::Toml)] {
        for export in [false, true] {
            let text = View { export, ..View::of(&inventory) }.list(format);
            let again = Files::of(&[(name, &text)]).load(&[name]).unwrap_or_else(|error| panic!("{error}\n{text}"));
            let of = |inventory: &Inventory| -> BTreeMap<String, Map> {
                let hosts = inventory.hosts().map(|(id, name)| (name.to_string(), written(&inventory.merged_vars(id))));
                hosts.map(|(name, vars)| (name, comparable(vars, format))).collect()
            };
            assert_eq!(of(&again), of(&inventory), "{text}");
            let site = |inventory: &Inventory| -> BTreeSet<String> {
                select(inventory, "site").unwrap().iter().map(ToString::to_string).collect()
            };
            assert_eq!(site(&again), site(&inventory), "{text}");
        }
    }
}

/// TOML has no null.
fn comparable(mut map: Map, format: Format) -> Map {
    map.retain(|_, value| format != Format::Toml || *value != Value::Null);
    map.sort_keys();
    map
}

#[test]
fn a_view_shows_variables_where_they_were_given_and_only_the_hosts_asked_for() {
    let inventory = ini("[web]\na x=1\nb\n[web:vars]\nv=2\n[site:children]\nweb\n[other:children]\nweb\n");
    let yaml = View { export: true, ..View::of(&inventory) }.list(Format::Yaml);
    insta::assert_snapshot!(yaml, @r"
    all:
      children:
        other:
          children:
            web: {}
        site:
          children:
            web:
              hosts:
                a:
                  x: 1
                b: {}
              vars:
                v: 2
    ");
    let only = Some(HashSet::from([inventory.host_id("b").unwrap()]));
    let toml = View { only, ..View::of(&inventory) }.list(Format::Toml);
    insta::assert_snapshot!(toml, @r#"
    [other]
    children = ["web"]

    [site]
    children = ["web"]

    [web.hosts.b]
    v = 2
    "#);
    let extra_vars = Arc::new(VarMap::from_iter([("x".to_owned(), Variable::data(7))]));
    let rules = Rules { extra_vars, ..Rules::default() };
    let files = Files::of(&[("h", "a x=1\n")]);
    let given =
        Inventory::load_with(&[files.path().join("h")], Limits::default(), rules, &Vault::default(), None).unwrap();
    assert!(View::of(&given).list(Format::Json).contains(r#""x": 7"#), "what the command line says is above all");
    assert!(View { export: true, ..View::of(&given) }.list(Format::Json).contains(r#""x": 1"#));
    let nobody = View { only: Some(HashSet::new()), ..View::of(&inventory) };
    assert_eq!(nobody.list(Format::Yaml), "{}\n");
}

#[test]
fn a_toml_inventory_has_a_table_for_each_group() {
    let text = "[all.vars]\nx = 1\n[web]\nchildren = ['db']\n[web.hosts]\n'a[1:2]' = {}\n[web.hosts.b]\ny = [1, {z = 'w'}]\n\
                [db.hosts.c]\n";
    let inventory = Files::of(&[("hosts.toml", text)]).load(&["hosts.toml"]).unwrap();
    assert_eq!(chosen(&inventory, "web"), "a1 a2 b c");
    let b = inventory.host_id("b").unwrap();
    assert_eq!(Value::Map(written(&inventory.merged_vars(b))).to_json(), r#"{"x":1,"y":[1,{"z":"w"}]}"#);
    for (text, expected) in [
        ("[web]\nhosts = 1\n", "hosts.toml: hosts must be a table, not a integer"),
        ("[web]\nchildren = 'x'\n", "hosts.toml: children of group `web` must be a list of names"),
        ("a = \n", "hosts.toml:1:5: not TOML: "),
    ] {
        let error = Files::of(&[("hosts.toml", text)]).load(&["hosts.toml"]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn listing_a_host_and_graphing_with_variables_look_like_ansibles() {
    let inventory = ini("[web]\nh b=True x=\"[1,'a']\" m=text\n[web:vars]\na=None\n");
    insta::assert_snapshot!(show::host(&inventory.merged_vars(HostId(0)), Format::Json), @r#"
    {
        "a": null,
        "b": true,
        "m": "text",
        "x": [
            1,
            "a"
        ]
    }
    "#);
    insta::assert_snapshot!(show::graph(&inventory, inventory.group_id("web").unwrap(), true).unwrap(), @r"
    @web:
      |--h
      |  |--{a = None}
      |  |--{b = True}
      |  |--{m = text}
      |  |--{x = [1, 'a']}
      |--{a = None}
    ");
    insta::assert_snapshot!(View::of(&ini("[web]\nh\n[site:children]\nweb\n[empty]\n")).list(Format::Json), @r#"
    {
        "_meta": {
            "hostvars": {},
            "profile": "inventory_legacy"
        },
        "all": {
            "children": [
                "ungrouped",
                "site",
                "empty"
            ]
        },
        "site": {
            "children": [
                "web"
            ]
        },
        "web": {
            "hosts": [
                "h"
            ]
        }
    }
    "#);
}

#[test]
fn the_agents_address_and_port_come_from_the_hosts_variables() {
    let inventory = ini(
        "a ansible_host=10.0.0.1 rustle_port=7000\nb ansible_host=x rustle_host=10.0.0.2 rustle_port='80 '\nc ansible_port=22 ansible_connection=local\nd rustle_port=0\n",
    );
    let id = |name| inventory.host_id(name).unwrap();
    assert_eq!((inventory.address(id("a")).unwrap().as_str(), inventory.port(id("a"))), ("10.0.0.1", Ok(7000)));
    assert_eq!((inventory.address(id("b")).unwrap().as_str(), inventory.port(id("b"))), ("10.0.0.2", Ok(80)));
    assert_eq!((inventory.address(id("c")).unwrap().as_str(), inventory.port(id("c"))), ("c", Ok(7443)));
    assert_eq!(inventory.connection(id("c")).as_deref(), Some("local"));
    assert_eq!(
        inventory.port(id("d")).unwrap_err(),
        "rustle_port of host `d` is 0, which is not a port from 1 to 65535"
    );
}

#[test]
fn mistakes_are_told_with_their_place_and_what_to_do() {
    for (name, text, message) in [
        (
            "h.ini",
            "[web]\nok\n  ../../etc x=1\n",
            "h.ini:3:3: `../../etc` is not a host name: only letters, digits, `.`, `-` and `_` may stand in it",
        ),
        ("h.ini", "con\n", "h.ini:1:1: `con` is not a host name: it is a device name on Windows"),
        (
            "h.ini",
            "fe80::1%eth0\n",
            "h.ini:1:1: `fe80::1%eth0` is not a host name: only letters, digits, `.`, `-` and `_` may stand in it (give the host a name, and its address as ansible_host=...)",
        ),
        (
            "h.ini",
            "h a = b\n",
            "h.ini:1:3: expected key=value after the host's name, not `a` (write no space around `=`, and quote values that contain spaces)",
        ),
        ("h.ini", "h \"x\n", "h.ini:1:3: a \" is not closed"),
        ("h.ini", "h[5:1]\n", "h.ini:1:1: the range `[5:1]` runs backwards"),
        ("h.ini", "[web:vars]\nx=1\n[wbe]\n", "h.ini:2:1: group `web` is not defined (did you mean `wbe`?)"),
        ("h.ini", "[a:children]\n  nope\n", "h.ini:2:3: group `nope` is not defined (define it with a section [nope])"),
        ("h.ini", "[web:vars]\nx\n", "h.ini:2:1: expected key=value, not `x`"),
        ("h.ini", "[web:kids]\n", "h.ini:1:6: `kids` is not a kind of section; there are `children` and `vars`"),
        (
            "h.ini",
            "[a:children]\nb\n[b:children]\nc\n[c:children]\na\n",
            "h.ini:4:1: group `b` would contain itself: b > c > a > b (take one of these groups out of the other's children)",
        ),
        (
            "h.ini",
            "all:\n",
            "h.ini:1:1: `all:` ends with `:`, which stands before a port (if this file is YAML, give it the extension .yml)",
        ),
        (
            "h.yml",
            "all:\n  hosts: [a, b]\n",
            "h.yml:2:10: expected a map, not a list (each host is a key: `web1:` or `web1: {port: 8080}`)",
        ),
        (
            "h.yml",
            "all:\n  hosts:\n    a b:\n",
            "h.yml:3:5: `a b` is not a host name: only letters, digits, `.`, `-` and `_` may stand in it",
        ),
        (
            "h.ini",
            "[web]\na\n[web:children]\nall\n",
            "h.ini:4:1: group `web` would contain itself: web > all > web (take one of these groups out of the other's children)",
        ),
        (
            "h.yml",
            "- a\n",
            "h.yml:1:1: expected groups with hosts, not a list (begin with `all:`, then `hosts:` below it)",
        ),
        (
            "h.yml",
            "plugin: aws_ec2\n",
            "h.yml:1:1: the configuration of the inventory plugin `aws_ec2`, which rustle-exec does not have (let Ansible write the inventory down: ansible-inventory --list --yaml > hosts.yml)",
        ),
        (
            "h.yml",
            "a: {children: {b: {children: {a: }}}}\n",
            "h.yml:1:16: group `a` would contain itself: a > b > a (take one of these groups out of the other's children)",
        ),
        (
            "h.json",
            r#"{"g": {"hosts": ["a", 5]}}"#,
            "h.json: hosts of group `g` must be a list of names, not a list with a int",
        ),
        (
            "h",
            "#!/usr/bin/python\nprint('x')\n",
            "h: begins with `#!` and is not executable: chmod +x it, or take that line out (INI, YAML, TOML and JSON are read, and executables that print JSON)",
        ),
    ] {
        assert_eq!(refusal(name, text), message, "{text}");
    }
    assert!(refusal("h.ini", &"a".repeat(300)).contains("it is longer than 253 bytes"));
    assert!(refusal("h.ini", "a\0b\n").contains("is not a host name"));
    let missing = Inventory::load(&["/nowhere/hosts".into()], Limits::default()).unwrap_err();
    assert_eq!(missing.to_string(), "/nowhere/hosts: cannot be read");
}

#[test]
fn text_that_is_not_utf8_is_refused_with_its_place() {
    let files = Files::of(&[]);
    fs::write(files.path().join("h.ini"), b"ok\nx\xff\n").unwrap();
    assert!(files.load(&["h.ini"]).unwrap_err().to_string().ends_with("h.ini:2:2: not UTF-8 text"));
}

#[test]
fn limits_end_the_reading() {
    let files = Files::of(&[("h.ini", "h[1:30]\n")]);
    let limited = |limits| Inventory::load(&[files.path().join("h.ini")], limits).unwrap_err().to_string();
    assert!(limited(Limits { hosts_max: 10, ..Limits::default() }).ends_with("stands for more than 10 hosts"));
    assert!(limited(Limits { source_bytes_max: 4, ..Limits::default() }).ends_with("larger than 4 bytes"));
    let one_by_one = Files::of(&[("h.ini", "a\nb\nc\n")]);
    let error = Inventory::load(&[one_by_one.path().join("h.ini")], Limits { hosts_max: 2, ..Limits::default() });
    assert!(error.unwrap_err().to_string().ends_with("h.ini:3:1: the inventory holds more than 2 hosts"));
}

#[test]
fn ten_thousand_hosts_share_groups_and_variables() {
    let inventory = ini("[web]\nweb[00001:10000] http_port=8080\n[web:vars]\na=1\n[site:children]\nweb\n");
    assert_eq!(inventory.host_count(), 10_000);
    let (first, last) = (inventory.host(HostId(0)), inventory.host(HostId(9_999)));
    assert!(Arc::ptr_eq(&first.vars, &last.vars) && Arc::ptr_eq(&first.groups, &last.groups));
    assert_eq!(select(&inventory, "site:!web00001").unwrap().len(), 9_999);
}

#[test]
fn odd_things_are_warned_of() {
    let inventory =
        yml("web:\n  hosts: {web: , a: }\n  hostz: {}\n  vars: {x: 1, x: 2, ansible_group_priority: high}\n");
    let warnings: Vec<_> = inventory.warnings().iter().map(|w| w.rsplit('/').next().unwrap()).collect();
    assert_eq!(
        warnings,
        [
            "hosts.yml:4:16: Found duplicate mapping key 'x'. Using last defined value only.",
            "hosts.yml:3:3: `hostz` means nothing in a group, which holds hosts, children and vars",
            "ansible_group_priority of group `web` is \"high\", which is not a number; it counts as 1",
            "`web` is the name of a host and of a group; a pattern means the group",
        ]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_makes_a_reader_panic(text in "[\\[\\]:=#;,\\-a-c0-3'\" \\n\\\\{}\u{e9}&!*]{0,120}") {
        let source: Arc<str> = "x".into();
        let _ = ini::read(&text, &source, &mut Builder::new(Limits::default()));
        let _ = yaml::read(&text, &source, &mut Builder::new(Limits::default()));
        let _ = script::read_list(&text, &source, &mut Builder::new(Limits::default()));
    }

    #[test]
    fn no_pattern_makes_the_selection_panic_or_leave_the_inventory(pattern in "[a-d\\[\\]:,!&~*?0-9\\-@. \u{e9}]{0,20}") {
        let inventory = Inventory::of_hosts(["a", "b1", "c-d"]).unwrap();
        if let Ok(hosts) = select(&inventory, &pattern) {
            prop_assert!(!hosts.is_empty());
            prop_assert!(hosts.iter().all(|host| inventory.contains(host.as_str())));
        }
    }
}

#[test]
fn what_is_encrypted_or_unsafe_stays_so_and_is_shown_so() {
    let cipher = crate::vault::encrypt(b"10.0.0.9", b"pass", None).unwrap();
    let block = cipher.trim_end().replace('\n', "\n        ");
    let yaml = format!(
        "all:\n  hosts:\n    a:\n      ansible_host: !vault |\n        {block}\n      u: !unsafe ['{{{{ x }}}}', 1]\n"
    );
    let files = Files::of(&[("hosts.yml", &yaml)]);
    let load = |name: &str, secrets| {
        let vault = Vault::new(secrets);
        let sources = [files.path().join(name)];
        Inventory::load_with(&sources, Limits::default(), Rules::default(), &vault, None).unwrap()
    };
    let inventory = load("hosts.yml", Vec::new());
    let json = View::of(&inventory).list(Format::Json);
    let marked = serde_json::to_string(&cipher).unwrap();
    assert!(
        json.contains(&format!("\"ansible_host\": {{\n                    \"__ansible_vault\": {marked}")),
        "{json}"
    );
    assert!(json.contains("\"__ansible_unsafe\": \"{{ x }}\""), "{json}");
    let text = View::of(&inventory).list(Format::Yaml);
    assert!(text.contains("          ansible_host: !vault |\n            $ANSIBLE_VAULT;1.1;AES256\n"), "{text}");
    let shown = show::host(&inventory.merged_vars(HostId(0)), Format::Json);
    assert!(shown.contains("__ansible_vault") && !shown.contains("__ansible_unsafe"), "{shown}");
    let place = format!("{}:4:21", files.path().join("hosts.yml").display());
    let unopened = inventory.address(HostId(0)).unwrap_err();
    assert!(unopened.starts_with("ansible_host of host `a`: ") && unopened.contains(&place), "{unopened}");
    assert!(show::graph(&inventory, GroupId::ALL, true).unwrap_err().contains("Attempting to decrypt"));

    fs::write(files.path().join("again.yml"), text).unwrap();
    fs::write(files.path().join("saved.json"), json).unwrap();
    for name in ["hosts.yml", "again.yml", "saved.json"] {
        let inventory = load(name, vec![Secret::new("default", b"pass")]);
        assert_eq!(inventory.address(HostId(0)).as_deref(), Ok("10.0.0.9"), "{name}");
        let graph = show::graph(&inventory, GroupId::ALL, true).unwrap();
        assert!(graph.contains("{ansible_host = 10.0.0.9}"), "{name}: {graph}");
        let u = inventory.var(HostId(0), "u").unwrap();
        let is_template = matches!(u, Variable::Authored(authored) if authored.needs_rendering());
        // YAML that Ansible writes says nothing of it.
        assert_eq!(is_template, name == "again.yml", "{name}: {u:?}");
    }
}
