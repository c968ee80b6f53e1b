//! The lines of a public interface.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// A crate as rustdoc has written it.
pub struct Interface<'a> {
    json: &'a Value,
    /// Names by which items can be reached, by id.
    reached: BTreeMap<String, String>,
    lines: BTreeSet<String>,
}

impl<'a> Interface<'a> {
    pub fn new(json: &'a Value) -> Interface<'a> {
        Interface {
            json,
            reached: BTreeMap::new(),
            lines: BTreeSet::new(),
        }
    }

    pub fn lines(mut self) -> BTreeSet<String> {
        self.module(&self.json["root"], "");
        self.reached_items();
        let index = self.json["index"].as_object().into_iter().flatten();
        for (_, item) in index {
            let implementation = &item["inner"]["impl"];
            if !implementation.is_null() {
                self.implementation(implementation);
            }
        }
        self.lines
    }

    fn item(&self, id: &Value) -> &'a Value {
        &self.json["index"][key(id)]
    }

    /// Notes what can be reached in a module.
    fn module(&mut self, id: &Value, path: &str) {
        for id in list(&self.item(id)["inner"]["module"]["items"]) {
            let item = self.item(id);
            if item["visibility"] != "public" {
                continue;
            }
            let import = &item["inner"]["use"];
            let (name, id) = if import.is_null() {
                (&item["name"], id)
            } else {
                (&import["name"], &import["id"])
            };
            let path = format!("{path}::{}", text(name));
            if self.item(id)["inner"]["module"].is_null() {
                self.reached.insert(key(id), path);
            } else {
                self.lines.insert(format!("mod {path}"));
                self.module(id, &path);
            }
        }
    }

    /// Adds a line for each item that can be reached, and for the methods of each trait.
    fn reached_items(&mut self) {
        for (id, path) in self.reached.clone() {
            let inner = &self.json["index"][&id]["inner"];
            for (kind, body) in inner.as_object().into_iter().flatten() {
                let generics = self.generics(&body["generics"]);
                let line = if kind == "function" {
                    format!("{path}{}", self.function(body))
                } else {
                    format!("{kind} {path}{generics}")
                };
                self.lines.insert(line);
                if kind == "trait" {
                    let is_unsafe = &body["is_unsafe"];
                    let bounds = self.bounds(&body["bounds"]);
                    self.lines
                        .insert(format!("{path}: {bounds}, unsafe: {is_unsafe}"));
                    self.members(&path, &body["items"]);
                }
                for (number, field) in list(&body["kind"]["tuple"]).enumerate() {
                    let field = &self.item(field)["inner"]["struct_field"];
                    // A private one is left out.
                    if !field.is_null() {
                        self.lines
                            .insert(format!("{path}.{number}: {}", self.kind(field)));
                    }
                }
            }
        }
    }

    fn implementation(&mut self, body: &Value) {
        let (of, trait_) = (&body["for"], &body["trait"]);
        if !body["blanket_impl"].is_null() || self.is_hidden(of) || self.is_hidden(trait_) {
            return;
        }
        let generics = self.generics(&body["generics"]);
        let mut of = self.kind(of);
        if !trait_.is_null() {
            let trait_ = self.path(trait_);
            // Code of users can neither call nor ask for these.
            if ["core::ops::drop::Drop", "core::marker::Freeze"].contains(&&*trait_) {
                return;
            }
            let not = if body["is_negative"] == true { "!" } else { "" };
            of = format!("{not}{trait_} for {of}");
            self.lines.insert(format!("impl {of}{generics}"));
        }
        self.members(&format!("{of}{generics}"), &body["items"]);
    }

    /// True for a type or trait of this crate that cannot be reached from outside.
    fn is_hidden(&self, kind: &Value) -> bool {
        let named = match &kind["resolved_path"] {
            Value::Null => kind,
            path => path,
        };
        let id = &named["id"];
        let is_local = self.json["paths"][key(id)]["crate_id"] == 0;
        !id.is_null() && is_local && !self.reached.contains_key(&key(id))
    }

    fn members(&mut self, of: &str, ids: &Value) {
        for id in list(ids) {
            let item = self.item(id);
            let name = text(&item["name"]);
            // Members of traits have no visibility of their own.
            if item["visibility"] != "public" && item["visibility"] != "default" {
                continue;
            }
            let is_of_trait_impl = of.contains(" for ");
            for (kind, body) in item["inner"].as_object().into_iter().flatten() {
                let line = match &**kind {
                    // The trait has its signature.
                    "function" if is_of_trait_impl => continue,
                    "function" => format!("{of}::{name}{}", self.function(body)),
                    "assoc_type" => format!("{of}::{name} = {}", self.kind(&body["type"])),
                    _ => format!("{kind} {of}::{name}"),
                };
                self.lines.insert(line);
            }
        }
    }

    fn function(&self, body: &Value) -> String {
        let header = &body["header"];
        let flags = ["is_async", "is_const", "is_unsafe"].map(|flag| {
            let is_set = header[flag] == true;
            if is_set { &flag[2..] } else { "" }
        });
        let inputs = list(&body["sig"]["inputs"]).map(|input| self.kind(&input[1]));
        let output = match &body["sig"]["output"] {
            Value::Null => "()".into(),
            output => self.kind(output),
        };
        let inputs = inputs.collect::<Vec<_>>().join(", ");
        let generics = self.generics(&body["generics"]);
        format!("{}({inputs}) -> {output}{generics}", flags.concat())
    }

    /// Parameters and bounds, however they are written.
    fn generics(&self, generics: &Value) -> String {
        let mut bounds = BTreeSet::new();
        for parameter in list(&generics["params"]) {
            let kind = &parameter["kind"];
            let name = text(&parameter["name"]);
            // Those of `impl Trait` stand in the signature.
            if kind["type"]["is_synthetic"] == true {
                continue;
            }
            let is_type = !kind["type"].is_null();
            for bound in list(&kind["type"]["bounds"]) {
                bounds.insert(format!("{name}: {}", self.bound(bound)));
            }
            if is_type {
                bounds.insert(name);
            }
        }
        for predicate in list(&generics["where_predicates"]) {
            let bound = &predicate["bound_predicate"];
            let on = self.kind(&bound["type"]);
            for bound in list(&bound["bounds"]) {
                bounds.insert(format!("{on}: {}", self.bound(bound)));
            }
        }
        let bounds: Vec<_> = bounds.into_iter().collect();
        if bounds.is_empty() {
            String::new()
        } else {
            format!(" where {}", bounds.join(", "))
        }
    }

    fn bounds(&self, bounds: &Value) -> String {
        let bounds: BTreeSet<String> = list(bounds).map(|bound| self.bound(bound)).collect();
        bounds.into_iter().collect::<Vec<_>>().join(" + ")
    }

    fn bound(&self, bound: &Value) -> String {
        let of_trait = &bound["trait_bound"];
        if of_trait.is_null() {
            // A lifetime, or what is captured.
            let outlives = text(&bound["outlives"]);
            return outlives;
        }
        let modifier = match text(&of_trait["modifier"]).as_str() {
            "maybe" => "?",
            _ => "",
        };
        format!("{modifier}{}", self.path(&of_trait["trait"]))
    }

    fn kind(&self, kind: &Value) -> String {
        let Some((name, body)) = kind.as_object().and_then(|kind| kind.iter().next()) else {
            return text(kind);
        };
        let inside = || self.kind(&body["type"]);
        let mutable = if body["is_mutable"] == true {
            "mut "
        } else {
            ""
        };
        match &**name {
            "resolved_path" => self.path(body),
            "generic" | "primitive" => text(body),
            "borrowed_ref" => {
                let lifetime = text(&body["lifetime"]);
                // An elided lifetime may be written as `'_` or not at all.
                let lifetime = if lifetime == "'_" { "" } else { &lifetime };
                format!("&{lifetime}{mutable}{}", inside())
            }
            "raw_pointer" => format!("*{mutable}{}", inside()),
            "slice" => format!("[{}]", self.kind(body)),
            "array" => format!("[{}; {}]", inside(), text(&body["len"])),
            "tuple" => {
                let parts: Vec<_> = list(body).map(|part| self.kind(part)).collect();
                format!("({})", parts.join(", "))
            }
            "impl_trait" => format!("impl {}", self.bounds(body)),
            "qualified_path" => {
                let of = self.kind(&body["self_type"]);
                format!(
                    "<{of} as {}>::{}",
                    self.path(&body["trait"]),
                    text(&body["name"])
                )
            }
            _ => without_ids(kind).to_string(),
        }
    }

    /// A type or trait with its arguments. An item of another crate has the place in which it is defined.
    fn path(&self, named: &Value) -> String {
        let known = &self.json["paths"][key(&named["id"])];
        let full: Vec<String> = list(&known["path"]).map(text).collect();
        let name = match full.last() {
            Some(last) if known["crate_id"] == 0 => last.clone(),
            Some(_) => full.join("::"),
            // As it is written. Older versions of rustdoc leave some items of the crate itself out.
            None => {
                let written = text(&named["path"]) + &text(&named["name"]);
                written.rsplit("::").next().unwrap_or_default().to_string()
            }
        };
        let args = &named["args"];
        let angle = &args["angle_bracketed"];
        let mut parts = Vec::new();
        for arg in list(&angle["args"]) {
            if !arg["type"].is_null() {
                parts.push(self.kind(&arg["type"]));
            } else if arg["lifetime"] == "'static" {
                parts.push("'static".into());
            }
        }
        for constraint in list(&angle["constraints"]) {
            let equal = &constraint["binding"]["equality"]["type"];
            parts.push(format!(
                "{} = {}",
                text(&constraint["name"]),
                self.kind(equal)
            ));
        }
        let call = &args["parenthesized"];
        if !call.is_null() {
            let inputs: Vec<_> = list(&call["inputs"])
                .map(|input| self.kind(input))
                .collect();
            let output = self.kind(&call["output"]);
            return format!("{name}({}) -> {output}", inputs.join(", "));
        }
        if parts.is_empty() {
            name
        } else {
            format!("{name}<{}>", parts.join(", "))
        }
    }
}

/// Writes an id as the key of a table.
fn key(id: &Value) -> String {
    text(id)
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Copies a value without ids, which differ from crate to crate.
fn without_ids(value: &Value) -> Value {
    match value {
        Value::Array(parts) => parts.iter().map(without_ids).collect(),
        Value::Object(parts) => {
            let kept = parts.iter().filter(|(name, _)| *name != "id");
            let kept = kept.map(|(name, part)| (name.clone(), without_ids(part)));
            Value::Object(kept.collect())
        }
        other => other.clone(),
    }
}
