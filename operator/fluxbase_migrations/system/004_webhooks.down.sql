-- Undoes 004. Fails, and changes nothing, while a trigger of the application still uses webhooks.capture().

DROP FUNCTION webhooks.capture();
DROP TABLE webhooks.deliveries;
DROP TABLE webhooks.subscriptions;
DROP TABLE webhooks.signing_secrets;
DROP TABLE webhooks.endpoints;
DROP SCHEMA webhooks;
