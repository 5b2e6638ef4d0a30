"""A key for originals of faces, for tests alone: scrypt has a work factor of 2^10 here, and opens at once.

Made after the age v1 specification with hashlib and ChaCha20-Poly1305, not by the library that reads it.
"""

PASSPHRASE = "correct horse battery"

RECIPIENT = "age1fzqmfljplrfa0l9pjweazjcyja42hch4x66xxgq8xtwhnnk2we0qs07mw4"

IDENTITY = b"""\
-----BEGIN AGE ENCRYPTED FILE-----
YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNjcnlwdCBZZkt2cGVoblc0Qkg5Ulhk
Q2V2RG5RIDEwClF0SDZWNk1rdzVmNzBka2NsVGdWOVJRd2RCOERZUU96WGdNZmJK
K2lTSVEKLS0tIHVFQ3hhZ3c0U2dPZGxtVERzU2JaMHRiNlNsVENzcURKU25nY09x
K0x6cm8KmPSEdhw9zL+13usq47FHAvdSjajBJl4adWMTMaOVP18bWT7RlOMKbue/
7DmriyBVORTXExnXsy7rf4Hz1L2VUoOCjEE/zL2+A00sbhRB03pOIsLS4G5g5exm
eq3XL8DZHqH6aF9DvoLx5H6syoGEzNFbAOSM8rAdHF+lQwYPGv7Q7/KQYee/mcne
qQUDnJ0C4zpZ5rJc++vLv2ZG0Sg/RwM0oE0NZV9rxD7mN6MKs8Y16L/CAsZYuA==
-----END AGE ENCRYPTED FILE-----
"""
