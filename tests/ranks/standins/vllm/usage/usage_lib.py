class UsageContext:
    OPENAI_API_SERVER = "OPENAI_API_SERVER"
