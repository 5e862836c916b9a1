//! docs/outcome.schema.json: written from the types of the outcomes, and held against what the commands give out.

use std::sync::OnceLock;

use jsonschema::Validator;
use meta_migration::outcome::AnyOutcome;
use serde_json::Value;

/// The schema with its validator.
pub struct Schema {
    validator: Validator,
}

impl Schema {
    /// The one in docs/. `UPDATE_SCHEMA=1` writes it from the types.
    pub fn of_outcomes() -> &'static Self {
        static SCHEMA: OnceLock<Schema> = OnceLock::new();
        SCHEMA.get_or_init(|| {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/outcome.schema.json");
            let generated = serde_json::to_value(schemars::schema_for!(AnyOutcome)).unwrap();
            if std::env::var_os("UPDATE_SCHEMA").is_some() {
                std::fs::write(path, serde_json::to_string_pretty(&generated).unwrap() + "\n").unwrap();
            }
            let document: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
            assert!(document == generated, "{path} is not what the types say; UPDATE_SCHEMA=1 writes it from them");
            jsonschema::meta::validate(&document).unwrap_or_else(|error| panic!("{path} is no schema: {error}"));
            Self { validator: jsonschema::draft202012::new(&document).unwrap() }
        })
    }

    /// Holds an object against the schema.
    #[track_caller]
    pub fn check(&self, object: &Value) {
        for field in ["command", "tool_version", "ended", "state"] {
            assert!(object[field].is_string(), "{field} is missing: {object:#}");
        }
        for field in ["code", "text"] {
            let text = object["next"][field].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "next.{field} is missing: {object:#}");
        }
        let errors: Vec<_> = self.validator.iter_errors(object).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "not as the schema says:\n{}\n{object:#}", errors.join("\n"));
    }
}
