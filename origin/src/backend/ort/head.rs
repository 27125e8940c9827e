//! A graph's head, the product that makes logits, made to work on the wanted entries only.
//!
//! As exported, a decoder computes logits after every entry of a prompt; of a chunk in a prompt's middle none is looked at,
//! of its end one, of a draft all. The head is a fifth of a small model. So a graph is changed before it is opened: between
//! the last layer and the head comes a `GatherND`, which takes from a new input which entries go on.
//!
//! The change is made on the file's bytes, in protobuf's wire format (<https://protobuf.dev/programming-guides/encoding/>,
//! fields by onnx.proto). Nothing is moved: the head's input gets another name of the same length, and what is new follows at
//! the end, where a parser merges it, since it is the same field of the same message once more.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// The new input: `[1, wanted, 2]`, row and entry of each.
pub(super) const WANTED: &str = "lede.wanted";

/// Nodes between logits and head: casts, scales, a soft cap.
const NODES_MAX: usize = 8;

/// What a look at the file found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// The head takes the input [`WANTED`] now.
    pub(super) takes_wanted: bool,
    /// Activations are quantised with one scale for all rows of a batch, so that they change each other's results.
    pub(super) scales_per_batch: bool,
    /// The fewest bits in which a product's weights are kept, where those are integers.
    pub(super) weight_bits: Option<u64>,
}

/// Changes a graph in place, if it is one whose head is found.
pub(super) fn gather_wanted(model: &mut Vec<u8>) -> Head {
    let Some(nodes) = nodes_of(model) else { return Head::default() };
    let scales_per_batch = nodes.iter().any(|node| model[node.operator.clone()].starts_with(b"DynamicQuantize"));
    let weight_bits = nodes.iter().filter_map(|node| weight_bits(model, node)).min();
    let takes_wanted = match cut(model, &nodes) {
        Some((input, name)) => {
            let addition = addition(&model[input.clone()], &name);
            model[input].copy_from_slice(&name);
            model.extend_from_slice(&addition);
            true
        }
        None => false,
    };
    Head { takes_wanted, scales_per_batch, weight_bits }
}

/// Where in the file a node's names lie.
#[derive(Default)]
struct Node {
    inputs: Vec<Range<usize>>,
    outputs: Vec<Range<usize>>,
    operator: Range<usize>,
    attributes: Vec<Range<usize>>,
}

/// Fields of onnx.proto: in a model, in its graph, in a node.
const GRAPH: u64 = 7;
const GRAPH_NODE: u64 = 1;
const GRAPH_INPUT: u64 = 11;
const NODE_INPUT: u64 = 1;
const NODE_OUTPUT: u64 = 2;
const NODE_NAME: u64 = 3;
const NODE_OPERATOR: u64 = 4;
const NODE_ATTRIBUTE: u64 = 5;
/// In an attribute: its name and its value, where that is a whole number.
const ATTRIBUTE_NAME: u64 = 1;
const ATTRIBUTE_NUMBER: u64 = 3;
/// What MatMulNBits has when it does not say.
const BITS_DEFAULT: u64 = 4;

fn nodes_of(model: &[u8]) -> Option<Vec<Node>> {
    let graph = fields(model, 0..model.len())?.into_iter().find(|(field, _)| *field == GRAPH)?.1;
    let nodes = fields(model, graph)?.into_iter().filter(|(field, _)| *field == GRAPH_NODE);
    nodes
        .map(|(_, range)| {
            let mut node = Node::default();
            for (field, range) in fields(model, range)? {
                match field {
                    NODE_INPUT => node.inputs.push(range),
                    NODE_OUTPUT => node.outputs.push(range),
                    NODE_OPERATOR => node.operator = range,
                    NODE_ATTRIBUTE => node.attributes.push(range),
                    _ => {}
                }
            }
            Some(node)
        })
        .collect()
}

/// Bits of the weights of a product with integers.
fn weight_bits(model: &[u8], node: &Node) -> Option<u64> {
    let is_bits = |attribute: &&Range<usize>| {
        let fields = fields(model, (*attribute).clone()).unwrap_or_default();
        fields.iter().any(|(field, range)| *field == ATTRIBUTE_NAME && &model[range.clone()] == b"bits")
    };
    match &model[node.operator.clone()] {
        b"MatMulNBits" => {
            let stated = node.attributes.iter().find(is_bits);
            Some(
                stated.and_then(|range| number_in(model, range.clone(), ATTRIBUTE_NUMBER)).unwrap_or(BITS_DEFAULT),
            )
        }
        operator if operator.starts_with(b"DynamicQuantize") => Some(8),
        _ => None,
    }
}

/// Where the head's input is named, and a name of the same length that nothing has.
fn cut(model: &[u8], nodes: &[Node]) -> Option<(Range<usize>, Vec<u8>)> {
    let bytes = |range: &Range<usize>| &model[range.clone()];
    let outputs = nodes.iter().flat_map(|node| node.outputs.iter().map(move |output| (bytes(output), node)));
    let producers: BTreeMap<&[u8], &Node> = outputs.collect();
    let mut name: &[u8] = b"logits";
    for _ in 0..NODES_MAX {
        let node = producers.get(name)?;
        let first = node.inputs.first()?;
        match bytes(&node.operator) {
            b"MatMul" | b"FusedMatMul" | b"MatMulNBits" | b"DynamicQuantizeMatMul" | b"DynamicQuantizeLinear" => {
                return free_name(model, nodes, first, &producers).map(|name| (first.clone(), name));
            }
            // Its input has been quantised by the node before, which is where to cut.
            b"MatMulInteger" => name = bytes(first),
            b"Cast" | b"Mul" | b"Div" | b"Tanh" => {
                name = node.inputs.iter().map(bytes).find(|input| producers.contains_key(input))?;
            }
            _ => return None,
        }
    }
    None
}

fn free_name(
    model: &[u8],
    nodes: &[Node],
    input: &Range<usize>,
    producers: &BTreeMap<&[u8], &Node>,
) -> Option<Vec<u8>> {
    let name = &model[input.clone()];
    let producer = &model[producers.get(name)?.operator.clone()];
    // Such a graph picks entries itself.
    if [&b"Gather"[..], b"GatherND", b"GatherElements", b"Slice", b"Squeeze", b"Unsqueeze", b"Reshape"]
        .contains(&producer)
    {
        return None;
    }
    let taken: BTreeSet<&[u8]> = nodes
        .iter()
        .flat_map(|node| node.inputs.iter().chain(&node.outputs))
        .map(|range| &model[range.clone()])
        .collect();
    let last = name.len().checked_sub(1).filter(|last| name[*last].is_ascii())?;
    let candidates = (b'!'..=b'~').map(|letter| {
        let mut candidate = name.to_vec();
        candidate[last] = letter;
        candidate
    });
    candidates.into_iter().find(|candidate| !taken.contains(candidate.as_slice()))
}

/// The graph's field once more, with a node and an input.
fn addition(hidden: &[u8], gathered: &[u8]) -> Vec<u8> {
    let wanted = WANTED.as_bytes();
    let node = [
        field(NODE_INPUT, hidden),
        field(NODE_INPUT, wanted),
        field(NODE_OUTPUT, gathered),
        field(NODE_NAME, b"lede.gather_wanted"),
        field(NODE_OPERATOR, b"GatherND"),
    ];
    // TensorShapeProto: dimensions (1), each with a number (1) or a name (2).
    let (one, some, two) = (number(1, 1), field(2, b"lede.wanted_entries"), number(1, 2));
    let shape = [field(1, &one), field(1, &some), field(1, &two)].concat();
    // ValueInfoProto: name (1), type (2): a tensor (1) of 64-bit integers (1: 7) with a shape (2).
    let tensor = [number(1, 7), field(2, &shape)].concat();
    let input = [field(1, wanted), field(2, &field(1, &tensor))];
    field(GRAPH, &[field(GRAPH_NODE, &node.concat()), field(GRAPH_INPUT, &input.concat())].concat())
}

fn field(number: u64, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(content.len() + 8);
    push_varint(&mut bytes, number << 3 | 2);
    push_varint(&mut bytes, content.len() as u64);
    bytes.extend_from_slice(content);
    bytes
}

fn number(field: u64, value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    push_varint(&mut bytes, field << 3);
    push_varint(&mut bytes, value);
    bytes
}

fn push_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// The fields with content of their own (wire type 2) of the message in `range`; none when it is not a message.
fn fields(bytes: &[u8], range: Range<usize>) -> Option<Vec<(u64, Range<usize>)>> {
    walk(bytes, range, |_, _| {})
}

/// The number in a field of the message in `range`.
fn number_in(bytes: &[u8], range: Range<usize>, field: u64) -> Option<u64> {
    let mut found = None;
    walk(bytes, range, |tagged, number| {
        if tagged == field {
            found = Some(number);
        }
    })?;
    found
}

/// Goes through a message: fields with content are returned, numbers told.
fn walk(bytes: &[u8], range: Range<usize>, mut tell: impl FnMut(u64, u64)) -> Option<Vec<(u64, Range<usize>)>> {
    let mut fields = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let tag = varint(bytes, &mut at)?;
        let length = match tag & 7 {
            0 => {
                tell(tag >> 3, varint(bytes, &mut at)?);
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(bytes, &mut at)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let end = at.checked_add(length).filter(|end| *end <= range.end)?;
        if tag & 7 == 2 {
            fields.push((tag >> 3, at..end));
        }
        at = end;
    }
    Some(fields)
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(operator: &str, inputs: &[&str], output: &str) -> Vec<u8> {
        let inputs = inputs.iter().flat_map(|name| field(NODE_INPUT, name.as_bytes()));
        let rest = [field(NODE_OUTPUT, output.as_bytes()), field(NODE_OPERATOR, operator.as_bytes())];
        field(GRAPH_NODE, &inputs.chain(rest.concat()).collect::<Vec<u8>>())
    }

    fn model(nodes: &[Vec<u8>]) -> Vec<u8> {
        // A version (1) before and an operator set (8) behind, as in a real file.
        [number(1, 10), field(GRAPH, &nodes.concat()), field(8, &number(2, 22))].concat()
    }

    fn inputs_of(model: &[u8], node: usize) -> Vec<String> {
        let nodes = nodes_of(model).unwrap();
        nodes[node].inputs.iter().map(|range| String::from_utf8(model[range.clone()].to_vec()).unwrap()).collect()
    }

    #[test]
    fn the_head_gets_its_input_from_the_new_node_whatever_stands_behind_it() {
        let norm = node("SkipSimplifiedLayerNormalization", &["x", "y"], "hidden");
        for behind in [
            vec![node("MatMul", &["hidden", "weight"], "logits")],
            vec![node("MatMulNBits", &["hidden", "weight"], "product"), node("Cast", &["product"], "logits")],
            vec![node("MatMul", &["hidden", "weight"], "product"), node("Mul", &["scale", "product"], "logits")],
        ] {
            let mut model = model(&[vec![norm.clone()], behind].concat());
            let length = model.len();
            let head = gather_wanted(&mut model);
            assert!(head.takes_wanted && !head.scales_per_batch);
            assert_eq!(inputs_of(&model, 1)[0], "hidde!");
            let added = &model[length..];
            let node = &nodes_of(added).unwrap()[0];
            assert_eq!(&added[node.inputs[0].clone()], b"hidden");
            assert_eq!(&added[node.outputs[0].clone()], b"hidde!");
        }
    }

    #[test]
    fn dynamic_quantisation_is_cut_before_it_and_named() {
        let mut model = model(&[
            node("Mul", &["x", "y"], "hidden"),
            node("DynamicQuantizeLinear", &["hidden"], "bytes"),
            node("MatMulInteger", &["bytes", "weight"], "sums"),
            node("Cast", &["sums"], "product"),
            node("Mul", &["product", "scale"], "logits"),
        ]);
        let head = Head { takes_wanted: true, scales_per_batch: true, weight_bits: Some(8) };
        assert_eq!(gather_wanted(&mut model), head);
        assert_eq!(inputs_of(&model, 1), ["hidde!"]);
    }

    #[test]
    fn the_fewest_bits_of_any_product_are_those_of_the_graph() {
        let stated = |bits: u64| {
            let attribute = [field(ATTRIBUTE_NAME, b"bits"), number(ATTRIBUTE_NUMBER, bits)].concat();
            let named = [field(NODE_OPERATOR, b"MatMulNBits"), field(NODE_ATTRIBUTE, &attribute)].concat();
            field(GRAPH_NODE, &named)
        };
        let bits = |nodes: &[Vec<u8>]| gather_wanted(&mut model(nodes)).weight_bits;
        let float = node("MatMul", &["x", "weight"], "y");
        assert_eq!(bits(std::slice::from_ref(&float)), None);
        assert_eq!(bits(&[float.clone(), stated(8)]), Some(8));
        assert_eq!(bits(&[stated(8), stated(4), float.clone()]), Some(4));
        assert_eq!(bits(&[float, node("MatMulNBits", &["x", "weight"], "y")]), Some(4));
    }

    #[test]
    fn what_picks_entries_itself_or_hides_its_head_stays_as_it_is() {
        for nodes in [
            vec![node("Gather", &["x", "last"], "hidden"), node("MatMul", &["hidden", "weight"], "logits")],
            vec![node("If", &["use_cache_branch"], "logits")],
            vec![node("MatMul", &["a_graph_input", "weight"], "logits")],
            vec![],
        ] {
            let before = model(&nodes);
            let mut after = before.clone();
            assert_eq!(gather_wanted(&mut after), Head::default());
            assert_eq!(after, before);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            gather_wanted(&mut bytes.clone());
            let graph = [field(GRAPH, &bytes), bytes].concat();
            gather_wanted(&mut graph.clone());
        }
    }
}
