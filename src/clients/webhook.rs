//! A generic JSON webhook: one POST of a JSON document; any 2xx is success.

use serde_json::Value;

use super::http::DeliveryError;

/// Posts a document.
pub async fn post(client: &reqwest::Client, url: &str, document: &Value) -> Result<(), DeliveryError> {
    let response = client.post(url).json(document).send().await.map_err(DeliveryError::unanswered)?;
    if response.status().is_success() { Ok(()) } else { Err(DeliveryError::refused(response).await) }
}
