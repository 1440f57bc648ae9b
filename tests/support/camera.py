"""A camera: GStreamer's RTSP server with one clip at /live, from its first frame for each who plays it.

camera.py CLIP --port PORT --protocols tcp|udp|all [--login basic|digest --user USER --password PASSWORD]
It says `ready PORT`, then what its clients do, a line each.
"""

import argparse

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer

PROTOCOLS = {
    "tcp": GstRtsp.RTSPLowerTrans.TCP,
    "udp": GstRtsp.RTSPLowerTrans.UDP,
    "all": GstRtsp.RTSPLowerTrans.TCP | GstRtsp.RTSPLowerTrans.UDP,
}
LAUNCH = (
    "( filesrc location={clip} ! flvdemux name=d "
    "d.video ! queue ! h264parse ! rtph264pay name=pay0 pt=96 "
    "d.audio ! queue ! aacparse ! rtpmp4gpay name=pay1 pt=97 )"
)


def demand_login(server, factory, args):
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth = GstRtspServer.RTSPAuth()
    if args.login == "digest":
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(args.user, args.password, token)
    else:
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(args.user, args.password), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("viewer", "media.factory.access", True)
    permissions.add_permission_for_role("viewer", "media.factory.construct", True)
    factory.set_permissions(permissions)


def connected(_server, client):
    print("connected", flush=True)
    client.connect("describe-request", lambda *_: print("describe", flush=True))
    client.connect("teardown-request", lambda *_: print("teardown", flush=True))
    client.connect("closed", lambda *_: print("closed", flush=True))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("clip")
    parser.add_argument("--port", default="0")
    parser.add_argument("--protocols", default="all", choices=PROTOCOLS)
    parser.add_argument("--login", choices=["basic", "digest"])
    parser.add_argument("--user", default="")
    parser.add_argument("--password", default="")
    args = parser.parse_args()
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(args.port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(LAUNCH.format(clip=args.clip))
    factory.set_protocols(PROTOCOLS[args.protocols])
    if args.login:
        demand_login(server, factory, args)
    server.get_mount_points().add_factory("/live", factory)
    server.connect("client-connected", connected)
    server.attach(None)
    print(f"ready {server.get_bound_port()}", flush=True)
    GLib.MainLoop().run()


main()
