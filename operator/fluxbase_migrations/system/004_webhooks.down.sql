-- Undoes 004. Fails, and changes nothing, while a trigger of the application still uses webhooks.capture().

DROP FUNCTION webhooks.purge(interval, integer);
DROP FUNCTION webhooks.delete_endpoint(uuid);
DROP FUNCTION webhooks.retry(uuid);
DROP FUNCTION webhooks.fail(uuid, integer, text, integer, interval);
DROP FUNCTION webhooks.complete(uuid, integer, integer);
DROP FUNCTION webhooks.claim(text, interval, integer);
DROP FUNCTION webhooks.capture();
DROP TABLE webhooks.deliveries;
DROP TABLE webhooks.subscriptions;
DROP TABLE webhooks.signing_secrets;
DROP TABLE webhooks.endpoints;
DROP SCHEMA webhooks;
