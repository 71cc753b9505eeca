"""The process engine: every partner is a process of its own with a data folder of its own, over a loopback socket.

The same state machines as in-process. The operator's process has no partner's key, share or update in its memory: it sees
what a relay on a network would see. Not a deployment: sockets listen on loopback alone and are not encrypted; what protects
the messages is what the protocol puts into them. It sums the updates that lie in the partners' folders and trains nothing: no
``[dp]`` setting reaches it, and updates that are to be private must be made so before they are put there.
"""
