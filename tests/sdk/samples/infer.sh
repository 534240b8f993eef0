curl -sS http://127.0.0.1:8081/v1/infer \
  -H "Authorization: Bearer YOUR_IGRIS_API_KEY" \
  -H "Content-Type: application/json" \
  -d '{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello!"}], "optimization": "cost"}'
