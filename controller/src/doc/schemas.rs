//! The JSON schemas under `docs/schema/`, generated from the types that read and write those files.

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Set to write the schemas instead of comparing them: `UPDATE_SCHEMA=1 cargo test -p rustle-exec schema`.
    const UPDATE: &str = "UPDATE_SCHEMA";

    fn compare(name: &str, schema: &serde_json::Value) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema").join(name);
        let schema = serde_json::to_string_pretty(schema).unwrap() + "\n";
        if std::env::var_os(UPDATE).is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &schema).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == schema, "run the tests once with {UPDATE}=1 and commit {}", path.display());
    }

    #[test]
    fn the_committed_report_schema_is_the_one_of_the_types() {
        compare("report.schema.json", &crate::report::schema());
    }

    #[test]
    fn the_committed_schema_of_printed_plans_is_the_one_of_the_types() {
        compare("printed-plan.schema.json", &crate::input::playbook::printed_plan_schema());
    }

    #[test]
    fn the_committed_plan_schema_is_the_one_of_the_types() {
        compare("plan.schema.json", &crate::input::plan_schema());
    }
}
