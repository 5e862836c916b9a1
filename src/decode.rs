pub fn value(_key: &[u8], value: &[u8]) -> String {
    value.escape_ascii().to_string()
}
