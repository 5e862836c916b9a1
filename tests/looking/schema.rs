//! docs/outcome.schema.json, and what of it occurs.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::{Value, json};

/// The schema with its validator.
pub struct Schema {
    pub document: Value,
    validator: Validator,
}

impl Schema {
    /// The one in docs/.
    pub fn of_outcomes() -> &'static Self {
        static SCHEMA: OnceLock<Schema> = OnceLock::new();
        SCHEMA.get_or_init(|| {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/outcome.schema.json");
            let document: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
            jsonschema::meta::validate(&document).unwrap_or_else(|error| panic!("{path} is no schema: {error}"));
            let validator = jsonschema::draft202012::new(&document).unwrap();
            Self { document, validator }
        })
    }

    /// Holds an object against the schema; the errors come from the part for its command.
    #[track_caller]
    pub fn check(&self, object: &Value) {
        if self.validator.is_valid(object) {
            return;
        }
        let part = object["command"].as_str().unwrap_or("failure");
        let errors: Vec<_> =
            self.part(part).iter_errors(object).map(|error| format!("{}: {error}", error.instance_path())).collect();
        panic!("not as the schema has {part}:\n{}\n{object:#}", errors.join("\n"));
    }

    /// Takes the objects of one command only.
    fn part(&self, name: &str) -> Validator {
        let mut document = self.document.clone();
        document["oneOf"] = json!([{ "$ref": format!("#/$defs/{name}") }]);
        jsonschema::draft202012::new(&document).unwrap()
    }

    /// The parts that stand for objects of their own.
    pub fn parts(&self) -> Vec<&str> {
        let parts = self.document["oneOf"].as_array().unwrap();
        parts.iter().map(|part| part["$ref"].as_str().unwrap().rsplit('/').next().unwrap()).collect()
    }

    /// All fields that objects of the part can have, like `plan.migration.totals.puts`; those in lists count too.
    pub fn fields(&self, part: &str) -> BTreeSet<String> {
        let mut fields = BTreeSet::new();
        self.collect(&self.document["$defs"][part], part, &mut fields);
        fields
    }

    fn collect(&self, schema: &Value, path: &str, fields: &mut BTreeSet<String>) {
        if let Some(target) = schema["$ref"].as_str() {
            self.collect(self.definition(target), path, fields);
        }
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            self.collect(field, &path, fields);
            fields.insert(path);
        }
        for choice in schema["oneOf"].as_array().into_iter().flatten().chain(schema.get("items")) {
            self.collect(choice, path, fields);
        }
    }

    fn definition(&self, target: &str) -> &Value {
        self.document.pointer(target.trim_start_matches('#')).unwrap_or_else(|| panic!("no {target}"))
    }

    /// Fields without a description, of their own or of what they refer to.
    pub fn undescribed(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.look_for_undescribed(&self.document, "", &mut found);
        found
    }

    fn look_for_undescribed(&self, schema: &Value, path: &str, found: &mut Vec<String>) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let referred = field["$ref"].as_str().and_then(|target| self.definition(target)["description"].as_str());
            // Constants without anything else only tell choices apart.
            if field["description"].as_str().or(referred).is_none() && field.get("const").is_none() {
                found.push(format!("{path}/{name}"));
            }
        }
        let mut look = |part, path: &str| self.look_for_undescribed(part, path, found);
        match schema {
            Value::Object(parts) => parts.iter().for_each(|(name, part)| look(part, &format!("{path}/{name}"))),
            Value::Array(parts) => parts.iter().for_each(|part| look(part, path)),
            _ => {}
        }
    }
}

/// The fields that an object has with any value but null or nothing at all, named as in [`Schema::fields`].
pub fn fields_of(object: &Value, path: &str, fields: &mut BTreeSet<String>) {
    match object {
        Value::Object(parts) => {
            for (name, value) in parts.iter().filter(|(_, value)| !is_nothing(value)) {
                let path = format!("{path}.{name}");
                fields_of(value, &path, fields);
                fields.insert(path);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| fields_of(item, path, fields)),
        _ => {}
    }
}

fn is_nothing(value: &Value) -> bool {
    [json!(null), json!([]), json!({})].contains(value)
}
