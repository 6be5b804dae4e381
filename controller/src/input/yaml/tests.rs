use proptest::prelude::*;

use super::*;

fn value(text: &str) -> Value {
    compose(text).unwrap().root.unwrap().to_value().unwrap()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn refusal(text: &str) -> String {
    let error = compose(text).and_then(|d| d.root.unwrap().to_value().map(drop)).unwrap_err();
    error.to_string()
}

#[test]
fn maps_lists_and_scalars_become_values_in_order() {
    let text = "b: 1\na:\n  - x\n  - {k: yes, l: [~, 1.5]}\ntext: |\n  two\n  lines\n";
    assert_eq!(value(text), json(r#"{"b":1,"a":["x",{"k":true,"l":[null,1.5]}],"text":"two\nlines\n"}"#));
    assert_eq!(value("b: 1\na: 2").as_map().unwrap().keys().collect::<Vec<_>>(), ["b", "a"]);
}

#[test]
fn quoted_scalars_are_text() {
    assert_eq!(value(r#"["yes", '010', "~", ""]"#), json(r#"["yes","010","~",""]"#));
}

#[test]
fn keys_stay_as_they_were_written() {
    assert_eq!(value("yes: 1\n8080: 2\n"), json(r#"{"yes":1,"8080":2}"#));
}

#[test]
fn every_node_knows_its_line_and_column() {
    let root = compose("a:\n  - x\n  - b: {c: d}\n").unwrap().root.unwrap();
    let items = root.as_map().unwrap()[0].1.as_list().unwrap();
    assert_eq!(items[0].at, Position::new(2, 5));
    let (key, inner) = &items[1].as_map().unwrap()[0];
    assert_eq!((key.at, inner.at), (Position::new(3, 5), Position::new(3, 8)));
}

#[test]
fn merge_keys_give_way_to_own_keys_and_to_earlier_maps() {
    let text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz:\n  <<: [*x, *y]\n  c: 3\n  d: 4\n";
    assert_eq!(value(text).as_map().unwrap()["z"], json(r#"{"b":1,"c":3,"a":1,"d":4}"#));
    assert_eq!(
        refusal("a:\n  <<: 5\n"),
        "2:5: YAML parsing failed: Colons in unquoted values must be followed by a non-space character."
    );
}

#[test]
fn of_a_key_written_twice_the_last_counts_and_a_warning_says_so() {
    let document = compose("a: 1\nb: 2\na: 3\n").unwrap();
    assert_eq!(document.root.unwrap().to_value().unwrap(), json(r#"{"a":3,"b":2}"#));
    assert_eq!(document.warnings[0].at, Position::new(3, 1));
    assert_eq!(document.warnings[0].what, "Found duplicate mapping key 'a'. Using last defined value only.");
}

#[test]
fn core_tags_choose_the_type_and_ansibles_tags_are_kept() {
    assert_eq!(value("[!!str 010, !!int '5', !!float 1, !!binary aGk=]"), json(r#"["010",5,1.0,"hi"]"#));
    let root = compose("a: !unsafe '{{ x }}'\nb: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n").unwrap().root.unwrap();
    let [(_, text), (_, secret)] = root.as_map().unwrap() else { panic!("two entries") };
    assert_eq!((text.tag, text.kind()), (Some(Tag::Unsafe), "string"));
    assert!(matches!(&secret.kind, Kind::Sealed(sealed) if &**sealed.text() == "$ANSIBLE_VAULT;1.1;AES256\n"));
    assert_eq!(refusal("a: !vault [x]"), "1:4: `!vault` is for text that ansible-vault has encrypted");
    assert_eq!(refusal("a: !!int x"), "1:4: `x` is not of the type that the tag `!!int` says");
}

#[test]
fn a_value_never_loses_a_tag_silently() {
    assert_eq!(
        refusal("a: !unsafe '{{ x }}'"),
        "1:4: `!unsafe` text that looks like a template, where it would be taken for one"
    );
    assert_eq!(refusal("a: !vault x"), "1:4: a value encrypted with ansible-vault, where none can be decrypted");
    assert_eq!(value("a: !unsafe plain"), json(r#"{"a":"plain"}"#));
}

#[test]
fn an_empty_file_is_a_document_without_root() {
    for text in ["", "# nothing\n", "\u{feff}"] {
        assert_eq!(compose(text).unwrap().root, None, "{text:?}");
    }
}

#[test]
fn a_bomb_of_aliases_is_refused() {
    let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..12 {
        let refs = vec![format!("*a{}", level - 1); 10].join(",");
        text += &format!("a{level}: &a{level} [{refs}]\n");
    }
    let error = compose(&text).unwrap_err().to_string();
    assert!(error.ends_with("aliases expand to more than 500000 nodes"), "{error}");
}

#[test]
fn nesting_beyond_the_limit_is_refused() {
    let deep = |levels: usize| format!("{}x{}", "[".repeat(levels), "]".repeat(levels));
    assert!(compose(&deep(DEPTH_MAX)).is_ok());
    assert!(compose(&deep(DEPTH_MAX + 1)).is_err());
    assert!(compose(&deep(VALUE_DEPTH_MAX + 1)).unwrap().root.unwrap().to_value().is_err());
    let mut text = String::from("a0: &a0 [x]\n");
    for level in 1..200 {
        text += &format!("a{level}: &a{level} [*a{}]\n", level - 1);
    }
    assert!(compose(&text).unwrap_err().what.contains("nested deeper"));
}

proptest! {
    #[test]
    fn no_text_makes_the_composer_panic(text in "[ -~\\n\\t\u{e9}]{0,200}") {
        let _ = compose(&text).map(|d| d.root.map(|root| root.to_value()));
    }

    #[test]
    fn no_soup_of_yaml_signs_makes_the_composer_panic(
        parts in prop::collection::vec(prop_oneof![
            Just("- "), Just("a: "), Just("\n"), Just("  "), Just("&x "), Just("*x"), Just("["), Just("]"), Just("{"),
            Just("}"), Just(", "), Just("<<: "), Just("!!int "), Just("!x "), Just("|\n"), Just("'"), Just("\""),
            Just("? "), Just("---\n"), Just("...\n"), Just("%TAG ! x\n"), Just("#"), Just("1"),
        ], 0..40)
    ) {
        let _ = compose(&parts.concat()).map(|d| d.root.map(|root| root.to_value()));
    }
}

#[test]
fn a_bracket_closes_in_any_column() {
    assert_eq!(
        value("a:\n  b: {\n    c: [1,\n    2\n],\n    d: 3\n}\ne: 4\n"),
        json(r#"{"a":{"b":{"c":[1,2],"d":3}},"e":4}"#)
    );
    assert!(refusal("a:\n  b: 1\n}\n").starts_with("3:1: YAML parsing failed"));
    let at = compose("a:\n  b: [{\n}, x]\n").unwrap().root.unwrap();
    let Kind::Map(a) = &at.kind else { panic!() };
    let Kind::Map(b) = &a[0].1.kind else { panic!() };
    let Kind::List(items) = &b[0].1.kind else { panic!() };
    assert_eq!(items[1].at, Position::new(3, 4), "columns are those of the file");
}

#[test]
fn between_brackets_and_quotes_a_line_begins_in_any_column() {
    for text in ["a:\n  b: [x,\ny]\nc: 1\n", "a:\n  b: [\"x\",\n'y'\n]\nc: 1\n"] {
        assert_eq!(value(text), json(r#"{"a":{"b":["x","y"]},"c":1}"#), "{text:?}");
    }
    for (text, b) in [
        ("a:\n  b: 'x\n\t y'\nc: 1\n", "x y"),
        ("a:\n  b: \"x\ny\n\n\tz\"\nc: 1\n", "x y\\nz"),
        ("a:\n  b: 'it''s\ny'\nc: 1\n", "it's y"),
        ("a:\n  b: \"\\\"x\\\ny\n z\"\nc: 1\n", "\\\"xy z"),
    ] {
        assert_eq!(value(text), json(&format!(r#"{{"a":{{"b":"{b}"}},"c":1}}"#)), "{text:?}");
    }
    assert!(refusal("a:\n  b: x\n\ty\n").contains("Tabs"), "without quotes it is none");
    assert!(refusal("a:\n  b: 'x\ny\n").contains("unexpected end"), "nothing ends it");
}

#[test]
fn a_block_of_text_stands_where_its_sign_does() {
    let text = "a: |\n  x\nb: >-\n\n  y | z\nc:\n  - |\n    z\n  - d: |2 # a | b\n        w\ne: !unsafe |\n  v\n";
    let root = compose(text).unwrap().root.unwrap();
    let of = |key: &str| root.as_map().unwrap().iter().find(|(k, _)| k.text == key).unwrap().1.clone();
    assert_eq!([of("a").at, of("b").at, of("e").at], [(1, 4), (3, 4), (11, 4)].map(|(l, c)| Position::new(l, c)));
    let items = of("c").as_list().unwrap().to_vec();
    assert_eq!(items[0].at, Position::new(7, 5));
    assert_eq!(items[1].as_map().unwrap()[0].1.at, Position::new(9, 8));
}

#[test]
fn tabs_may_stand_behind_a_colon_and_between_brackets() {
    for text in
        ["a:\tx\n", "a: \t x\n", "a\t: x\n", "'a'\t:\tx\n", "a: !!str\tx\n", "a: &x\tx\n", "a: x\t# y\n", "{a:\tx}"]
    {
        assert_eq!(value(text), json(r#"{"a":"x"}"#), "{text:?}");
    }
    for text in ["a: [x,\n\ty]\n", "a: [x,\ty]\n", "a:\n  [\n\tx\t,\n\t\ty\n\t]\n", "a: [x,\n \t 'y'\n\n\t]\n"] {
        assert_eq!(value(text), json(r#"{"a":["x","y"]}"#), "{text:?}");
    }
    assert_eq!(value("a: {b: 1,\n\tc: 2}\n"), json(r#"{"a":{"b":1,"c":2}}"#));
    for text in ["a: b\n\tc: d\n", "a:\n\t- b\n", "a: |\n\tx\n", "a: x\n\ty\n", "a: [x]\n\tb: c\n"] {
        assert!(refusal(text).contains("Tabs are usually invalid"), "{text:?}: {}", refusal(text));
    }
}
