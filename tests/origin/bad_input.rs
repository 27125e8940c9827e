use lede_tests::bad_input::bad_requests;
use lede_tests::{Origin, ok_json, post, sunset};

#[tokio::test]
async fn every_bad_request_gets_its_problem_and_the_process_lives() {
    let origin = Origin::start().await;
    for bad in bad_requests() {
        let problem = bad.send(&origin.url).await;
        assert_eq!(problem.code, bad.code, "{}: {problem:?}", bad.name);
        let pointers: Vec<_> = problem.errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, bad.pointers, "{}", bad.name);
    }
    ok_json(post(&origin.url, "/api/v14/generate", &sunset())).await;
    assert!(!origin.log().contains("panicked"), "{}", origin.log());
}
