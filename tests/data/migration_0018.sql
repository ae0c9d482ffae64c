UPDATE jobs SET definition = json_set(definition, '$.live', json('{"list":"vip"}'));
