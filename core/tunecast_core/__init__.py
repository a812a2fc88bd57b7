"""Code that the operator, the ranks and the init container share: key, layers, manifest, bundle, store, signing.

This package imports only the standard library, so that ranks can use it in any engine image. The exceptions are
``store`` (boto3) and ``trust.signing`` (cryptography), which only the operator and the init container import.
"""
