"""What the operator, the ranks and the init container share: key, layers, manifest, bundle, store, signing.

Only the standard library is imported here, so that ranks can use it in any engine image; ``store`` (boto3) and
``signing`` (cryptography) are imported by the operator and the init container alone.
"""
