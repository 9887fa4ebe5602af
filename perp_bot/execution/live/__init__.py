"""The live executor's rooms: actions on the wire, signing, nonces, sending, and what an answer means."""
