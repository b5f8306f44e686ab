package policy

// The values of [exchange.Verdict.Reason]: constant per cause, and without anything from the request.
// A verdict that a dry run turned into an allow has [DryRunPrefix] and the denial's reason.
const (
	ReasonAllowed            = "allowed"
	ReasonPreflight          = "cors_preflight"
	ReasonPreflightDenied    = "cors_preflight_denied"
	ReasonCredentialsMissing = "credentials_missing"
	ReasonBasicInvalid       = "basic_invalid"
	ReasonBasicBusy          = "basic_busy"
	ReasonJWTInvalid         = "jwt_invalid"
	ReasonJWTExpired         = "jwt_expired"
	ReasonJWTKeys            = "jwt_keys_unavailable"
	ReasonAPIKeyInvalid      = "api_key_invalid"
	ReasonAuthorizationTwice = "authorization_repeated"
	ReasonConnectionNames    = "connection_names_identity_header"
	ReasonRuleDenied         = "rule_denied"
	ReasonDefaultDenied      = "rule_default_denied"
	ReasonGeoMissing         = "geo_database_missing"
	ReasonOPADenied          = "opa_denied"
	ReasonOPAUndefined       = "opa_undefined"
	ReasonOPAError           = "opa_error"
	ReasonOPATimeout         = "opa_timeout"
	ReasonBodyTooLarge       = "opa_body_too_large"
	ReasonBodyMissing        = "opa_body_missing"
	ReasonBundleMissing      = "opa_bundle_missing"
	ReasonAmbiguous          = "opa_request_ambiguous"
	ReasonUnusable           = "policy_unusable"
	ReasonPanic              = "policy_panic"

	DryRunPrefix = "dry_run_"
)
