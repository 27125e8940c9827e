//! The page: plain HTML that needs no script, with the style sheet of the playground.

use std::fmt::Write;

use indexmap::IndexMap;
use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

use super::description::{Body, Components, Description, Header, Operation, Parameter, Response, Schema};
use super::schema;

const TOP: &str = r##"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="description" content="The API of Lede: Instagram captions from the edge.">
<title>Lede: documentation</title>
<link rel="icon" href="/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/style.css">
</head>
<body class="docs">
<a class="skip" href="#introduction">Skip to the documentation</a>
<header class="top">
<h1 class="name"><a href="/" aria-label="The playground"><span class="mark" aria-hidden="true"></span></a>Lede, documented</h1>
<nav aria-label="Pages"><a href="/">Try it</a><a href="/openapi.json">OpenAPI</a></nav>
</header>
<main>
"##;

/// The whole page.
pub(super) fn render(description: &Description, snippets: &str) -> String {
    let mut page = String::from(TOP);
    page.push_str(&contents(description));
    page.push_str("<article>\n");
    section(&mut page, ("introduction", "Introduction"), &markdown(&description.info.description));
    section(&mut page, ("clients", "Clients"), &clients(snippets));
    section(&mut page, ("routes", "Routes"), &routes(description));
    section(&mut page, ("headers", "Headers"), &headers(&description.components.headers));
    section(&mut page, ("schemas", "Schemas"), &schemas(&description.components.schemas));
    page.push_str("</article>\n</main>\n</body>\n</html>\n");
    page
}

fn section(page: &mut String, (id, title): (&str, &str), content: &str) {
    add(
        page,
        format_args!("<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{title}</h2>\n{content}</section>\n"),
    );
}

/// Writing to a string cannot fail.
fn add(page: &mut String, content: std::fmt::Arguments<'_>) {
    let _ = page.write_fmt(content);
}

fn contents(description: &Description) -> String {
    let link = |id: &str, text: &str| format!("<a href=\"#{id}\">{}</a>\n", escape(text));
    let mut contents = String::from("<nav class=\"contents\" aria-label=\"Contents\">\n");
    contents.push_str(&[link("introduction", "Introduction"), link("clients", "Clients")].concat());
    contents.push_str("<p>Routes</p>\n");
    for (path, operations) in &description.paths {
        for (method, operation) in operations {
            contents.push_str(&link(&operation.operation_id, &format!("{} {path}", method.to_uppercase())));
        }
    }
    contents.push_str("<p>Reference</p>\n");
    contents.push_str(&[link("headers", "Headers"), link("schemas", "Schemas")].concat());
    contents.push_str("</nav>\n");
    contents
}

/// The document without its title, its headings one level deeper.
fn clients(snippets: &str) -> String {
    let body = snippets.split_once("\n\n").map_or(snippets, |(_, body)| body);
    markdown(body)
}

fn markdown(source: &str) -> String {
    let deeper = |level| if level == HeadingLevel::H2 { HeadingLevel::H3 } else { HeadingLevel::H4 };
    let events = Parser::new_ext(source, Options::empty()).map(|event| match event {
        Event::Start(Tag::Heading { level, id, classes, attrs }) => {
            Event::Start(Tag::Heading { level: deeper(level), id, classes, attrs })
        }
        Event::End(TagEnd::Heading(level)) => Event::End(TagEnd::Heading(deeper(level))),
        Event::Html(text) | Event::InlineHtml(text) => Event::Text(CowStr::from(text.into_string())),
        other => other,
    });
    let mut page = String::new();
    html::push_html(&mut page, events);
    // What can be scrolled must be reachable by keyboard.
    page.replace("<pre>", "<pre tabindex=\"0\">")
}

fn routes(description: &Description) -> String {
    let mut page = String::new();
    for (path, operations) in &description.paths {
        for (method, operation) in operations {
            route(&mut page, (method, path), operation, &description.components);
        }
    }
    page
}

fn route(page: &mut String, (method, path): (&str, &str), operation: &Operation, components: &Components) {
    let Operation { operation_id, summary, description, parameters, request_body, responses } = operation;
    add(
        page,
        format_args!(
            "<div class=\"route\">\n<h3 id=\"{operation_id}\"><span class=\"method\">{}</span>{}</h3>\n<p>{}.</p>\n{}",
            method.to_uppercase(),
            escape(path),
            escape(summary),
            markdown(description)
        ),
    );
    if !parameters.is_empty() {
        page.push_str("<details><summary>Parameters</summary>\n");
        page.push_str(&table(
            &format!("Parameters of {operation_id}"),
            ["Name", "In", "What"],
            parameters.iter().map(parameter),
        ));
        page.push_str("</details>\n");
    }
    if let Some(body) = request_body {
        page.push_str(&request(body));
    }
    let answers: Vec<(&str, &Response)> =
        responses.iter().filter_map(|(status, one)| Some((status.as_str(), components.resolved(one)?))).collect();
    page.push_str("<h4>Answers</h4>\n");
    page.push_str(&table(
        &format!("Answers of {operation_id}"),
        ["Status", "What", "Body"],
        answers.iter().map(response),
    ));
    page.push_str(&answer_example(&answers));
    page.push_str("</div>\n");
}

fn parameter(parameter: &Parameter) -> [String; 3] {
    let Parameter { name, place, required, description, schema } = parameter;
    let what = [description.as_str(), schema["description"].as_str().unwrap_or_default()].concat();
    let required = if *required { "required. " } else { "" };
    [escape(name), escape(place), format!("{required}{}<br>{}", schema::in_words(schema), inline(&what))]
}

fn request(body: &Body) -> String {
    let mut page = String::from("<h4>Body</h4>\n");
    for (media_type, media) in &body.content {
        add(
            &mut page,
            format_args!("<p>{} as <code>{}</code></p>\n", schema::in_words(&media.schema), escape(media_type)),
        );
        page.push_str(&media.example.as_ref().map(example).unwrap_or_default());
    }
    page
}

fn response((status, response): &(&str, &Response)) -> [String; 3] {
    let bodies = response.content.iter().map(|(media_type, media)| {
        let what = schema::in_words(&media.schema);
        // What has a schema of its own needs no more words; the media type of a problem is always the same.
        if status.starts_with(['4', '5']) {
            what
        } else {
            format!("{what}<br><code>{}</code>", escape(media_type))
        }
    });
    [escape(status), inline(&response.description), bodies.collect::<Vec<_>>().join("<br>")]
}

fn answer_example(answers: &[(&str, &Response)]) -> String {
    let Some((_, response)) = answers.iter().find(|(status, _)| *status == "200") else { return String::new() };
    let examples =
        response.content.iter().filter_map(|(media_type, media)| Some((media_type, media.example.as_ref()?)));
    let shown = examples.map(|(media_type, value)| {
        format!(
            "<details><summary>Example of <code>{}</code></summary>\n{}</details>\n",
            escape(media_type),
            example(value)
        )
    });
    shown.collect()
}

fn example(value: &serde_json::Value) -> String {
    let text = match value {
        serde_json::Value::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    };
    format!("<pre tabindex=\"0\"><code>{}</code></pre>\n", escape(&text))
}

fn headers(headers: &IndexMap<String, Header>) -> String {
    let rows = headers.iter().map(|(name, Header { description, example })| {
        [escape(name), inline(description), format!("<code>{}</code>", escape(example))]
    });
    table("Headers of answers", ["Header", "What it says", "Example"], rows)
}

fn schemas(schemas: &IndexMap<String, Schema>) -> String {
    let mut page = String::new();
    for (name, one) in schemas {
        add(&mut page, format_args!("<h3 id=\"{name}\">{name}</h3>\n{}", markdown(&one.description)));
        if !one.words.is_empty() {
            let words: Vec<_> = one.words.iter().map(|word| format!("<code>{}</code>", escape(word))).collect();
            add(&mut page, format_args!("<p>{}</p>\n", words.join(", ")));
        }
        let parts = one.all_of.iter().filter_map(|part| part["properties"].as_object()).flatten();
        let choices = one.all_of.iter().filter_map(|part| part["oneOf"].as_array()).flatten();
        let chosen = choices.filter_map(|part| part["properties"].as_object()).flatten();
        let fields: Vec<_> = one.properties.iter().chain(parts).chain(chosen).collect();
        if !fields.is_empty() {
            let rows = fields.into_iter().map(|(field, schema)| {
                let required = if one.required.contains(field) { " (required)" } else { "" };
                let what = schema["description"].as_str().unwrap_or_default();
                [escape(field), format!("{}{required}", schema::in_words(schema)), inline(what)]
            });
            page.push_str(&table(&format!("Fields of {name}"), ["Field", "Type", "What"], rows));
        }
    }
    page
}

fn table(label: &str, head: [&str; 3], rows: impl Iterator<Item = [String; 3]>) -> String {
    let mut page = format!(
        "<div class=\"table\" role=\"region\" tabindex=\"0\" aria-label=\"{}\"><table>\n<thead><tr>",
        escape(label)
    );
    for title in head {
        add(&mut page, format_args!("<th scope=\"col\">{title}</th>"));
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for [name, second, third] in rows {
        add(&mut page, format_args!("<tr><th scope=\"row\">{name}</th><td>{second}</td><td>{third}</td></tr>\n"));
    }
    page.push_str("</tbody>\n</table></div>\n");
    page
}

/// One line of Markdown, without a paragraph around it.
fn inline(source: &str) -> String {
    let page = markdown(source);
    page.trim().trim_start_matches("<p>").trim_end_matches("</p>").to_owned()
}

/// Text as it may stand between tags and in attributes.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
