//! Laying one tree over another.
use crate::tree::{Item, Node, Table, Value};

/// Lays `layer` over the root table `base`; see the crate documentation for the rules.
pub(crate) fn merge_tables(base: &mut Table, layer: Table) {
    for item in layer.0 {
        match base.get_mut(&item.key) {
            Some(existing) => merge_item(existing, item),
            None => base.0.push(item),
        }
    }
}

fn merge_item(base: &mut Item, layer: Item) {
    if let (Value::String(_), Value::Table(parameters)) = (&base.node.value, &layer.node.value)
        && parameters.get("name").is_none()
    {
        spell_out(&mut base.node, &layer);
    }
    match (&mut base.node.value, layer.node.value) {
        (Value::Table(old), Value::Table(new)) if !changes_name(old, &new) => merge_tables(old, new),
        (_, value) => *base = Item { node: Node { value, span: layer.node.span }, ..layer },
    }
}

fn changes_name(old: &Table, new: &Table) -> bool {
    match (old.get("name"), new.get("name")) {
        (Some(old), Some(new)) => old.node.to_toml() != new.node.to_toml(),
        _ => false,
    }
}

/// Turns a bare name into the table it is short for, since `layer` brings that table's parameters.
fn spell_out(bare: &mut Node, layer: &Item) {
    let name = Item { key: "name".into(), key_span: bare.span.clone(), node: bare.clone() };
    *bare = Node { value: Value::Table(Table(vec![name])), span: layer.node.span.clone() };
}
