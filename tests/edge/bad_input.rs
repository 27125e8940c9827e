use lede_tests::bad_input::bad_requests;
use lede_tests::{Edge, Origin, ok_json, post, sunset};

#[tokio::test]
async fn every_bad_request_gets_its_problem_at_the_edge_and_never_reaches_the_origin() {
    let origin = Origin::start().await;
    let mut edge = Edge::start(&origin.url);
    for bad in bad_requests() {
        let problem = bad.send(&edge.url).await;
        assert_eq!(problem.code, bad.code, "{}: {problem:?}", bad.name);
        let pointers: Vec<_> = problem.errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, bad.pointers, "{}", bad.name);
    }
    assert!(!origin.log().contains("/api/v14"), "the origin was asked:\n{}", origin.log());
    ok_json(post(&edge.url, "/api/v14/generate", &sunset())).await;
    assert!(edge.is_running() && !edge.log().contains("panicked"), "{}", edge.log());
}
