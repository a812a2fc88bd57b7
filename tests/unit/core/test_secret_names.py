"""Variables that hold secrets, recognized by names that engines, hubs and clouds use."""

from __future__ import annotations

import pytest

from tunecast_core.trust.secret_names import holds_password, names_public, names_secret


def words(text: str) -> list[str]:
    return text.split()


SECRET = words("""
    HF_TOKEN HUGGING_FACE_HUB_TOKEN HUGGINGFACEHUB_API_TOKEN VLLM_API_KEY OPENAI_API_KEY NGC_API_KEY
    WANDB_API_KEY AWS_SECRET_ACCESS_KEY AWS_ACCESS_KEY_ID AWS_SESSION_TOKEN AZURE_STORAGE_ACCOUNT_KEY
    AZURE_CLIENT_SECRET GOOGLE_PRIVATE_KEY GITHUB_TOKEN GITHUB_PAT GITLAB_TOKEN DB_PASSWORD PGPASSWORD MYSQL_PWD
    REDIS_PASS SSHPASS_PASSWD KEY_PASSPHRASE SECRET_KEY SECRET_KEY_BASE DJANGO_SECRET_KEY JWT_SECRET
    COOKIE_SECRETS API_KEYS AUTH_TOKENS HF_TOKENS DOCKER_CREDENTIALS hfToken hf-token api_key apiKey APIKey
    private_key client_secret TOKEN Password token_v2 SIGNING_KEY ENCRYPTION_KEY SAS_TOKEN LANGFUSE_SECRET_KEY
""")
PLAIN = words("""
    MAX_NUM_BATCHED_TOKENS MAX_TOKENS MIN_TOKENS TOKENIZER TOKENIZER_MODE TOKENIZERS_PARALLELISM
    TOKENIZER_REVISION VLLM_MAX_TOKENS_PER_EXPERT LONG_PREFILL_TOKEN_THRESHOLD TOKEN_BUDGET TOKEN_LIMIT
    EOS_TOKEN_ID PAD_TOKEN_IDS KEY_PATH HF_TOKEN_PATH TOKEN_FILE AWS_SHARED_CREDENTIALS_FILE
    AWS_WEB_IDENTITY_TOKEN_FILE SECRET_NAME PASSWORD_FILE API_KEY_HEADER TOKEN_URL CACHE_KEY PRIMARY_KEY
    SORT_KEYS KEY KEYS MONKEY DONKEY_NAME KEYBOARD PATH PATHS PATCH PWD OLDPWD HOME MODEL MODEL_NAME
    SERVED_MODEL_NAME HF_HOME HF_ENDPOINT AWS_REGION AWS_DEFAULT_REGION S3_BUCKET VLLM_CACHE_ROOT
    VLLM_ATTENTION_BACKEND CUDA_VISIBLE_DEVICES COMPASS BYPASS PASSES SECRETARY SSH_AUTH_SOCK GPG_KEY detokenize
    num_tokens tokenCount maxTokens author AUTHORITY COMPATIBLE VLLM_PASS_CONFIG
""")


@pytest.mark.parametrize("name", SECRET)
def test_a_name_with_a_word_for_secrets_is_secret(name: str) -> None:
    assert names_secret(name)


@pytest.mark.parametrize("name", [*PLAIN, "", "_", "123", "ключ"])
def test_a_name_that_only_contains_such_letters_is_not_secret(name: str) -> None:
    assert not names_secret(name)


@pytest.mark.parametrize(
    ("value", "password"),
    [
        ("http://proxy.corp:3128", False),
        ("http://user:hunter22@proxy.corp:3128", True),
        ("postgres://:hunter22@db/models", True),
        ("https://user@host/path", False),
        ("user:hunter22@host", False),
        ("https://host/a:b@c", False),
    ],
)
def test_a_url_with_a_password_holds_one(value: str, password: bool) -> None:
    assert holds_password(value) == password


@pytest.mark.parametrize(
    ("name", "public"),
    [("AWS_REGION", True), ("username", True), ("S3_ENDPOINT", True), ("HF_TOKEN", False), ("user_token", False),
     ("", False), ("token", False), ("database_url", True), ("..data", False)],
)  # fmt: skip
def test_files_that_are_mounted_beside_a_secret_are_not_secret(name: str, public: bool) -> None:
    assert names_public(name) == public
