// A player on live555's library, which VLC and openRTSP play RTSP with: every unit it receives is a line.
//
//   play URL tcp|udp|multicast|http:PORT COUNT
//
// For each unit, a NAL unit or a frame of sound: its medium, bytes, FNV-1a, and "reported" once its time is one of the
// sender's reports. It ends well when it has COUNT units of every medium, or every medium has said goodbye ("goodbye MEDIUM").

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "BasicUsageEnvironment.hh"
#include "GroupsockHelper.hh"
#include "liveMedia.hh"

static char done = 0;
static int status = 1;
static MediaSession* session = nullptr;
static MediaSubsessionIterator* next_medium = nullptr;
static MediaSubsession* medium = nullptr;
static unsigned wanted = 0, media = 0, complete = 0;
static bool by_tcp = false, by_multicast = false;

static void end(int with) {
  status = with;
  done = 1;
}

static void is_complete() {
  if (++complete == media) end(0);
}

class Units : public MediaSink {
 public:
  Units(UsageEnvironment& env, unsigned number, FramedSource* source, RTPSource* rtp)
      : MediaSink(env), number(number), from(source), rtp(rtp) {}

  Boolean continuePlaying() override {
    from->getNextFrame(bytes, sizeof bytes, received, this, onSourceClosure, this);
    return True;
  }

 private:
  static void received(void* self, unsigned size, unsigned cut, struct timeval, unsigned) {
    static_cast<Units*>(self)->take(size, cut);
  }

  void take(unsigned size, unsigned cut) {
    uint64_t hash = 0xcbf29ce484222325;
    for (unsigned at = 0; at < size; ++at) hash = (hash ^ bytes[at]) * 0x100000001b3;
    bool reported = rtp != nullptr && rtp->hasBeenSynchronizedUsingRTCP();
    printf("%u %u %016llx%s%s\n", number, size, (unsigned long long)hash, reported ? " reported" : "", cut ? " cut" : "");
    if (++count == wanted) is_complete();
    continuePlaying();
  }

  unsigned number, count = 0;
  FramedSource* from;
  RTPSource* rtp;
  unsigned char bytes[1 << 20];
};

static int failed(RTSPClient* client, char const* what, int code, char* said) {
  fprintf(stderr, "%s failed: %d %s (%s)\n", what, code, said ? said : "", client->envir().getResultMsg());
  delete[] said;
  end(1);
  return 1;
}

static void goodbye(void* number) {
  printf("goodbye %u\n", (unsigned)(uintptr_t)number);
  is_complete();
}

static void playing(RTSPClient* client, int code, char* said) {
  if (code != 0) return (void)failed(client, "PLAY", code, said);
  delete[] said;
}

static void set_up_next(RTSPClient* client);

static void set_up(RTSPClient* client, int code, char* said) {
  if (code != 0) return (void)failed(client, "SETUP", code, said);
  delete[] said;
  unsigned number = media++;
  if (!by_tcp) increaseReceiveBufferTo(client->envir(), medium->rtpSource()->RTPgs()->socketNum(), 4 << 20);
  medium->sink = new Units(client->envir(), number, medium->readSource(), medium->rtpSource());
  medium->sink->startPlaying(*medium->readSource(), nullptr, nullptr);
  if (medium->rtcpInstance() != nullptr)
    medium->rtcpInstance()->setByeHandler(goodbye, (void*)(uintptr_t)number);
  set_up_next(client);
}

static void set_up_next(RTSPClient* client) {
  medium = next_medium->next();
  if (medium == nullptr) {
    client->sendPlayCommand(*session, playing);
    return;
  }
  if (!medium->initiate()) return (void)failed(client, "a medium", 0, nullptr);
  client->sendSetupCommand(*medium, set_up, False, by_tcp, by_multicast);
}

static void described(RTSPClient* client, int code, char* said) {
  if (code != 0) return (void)failed(client, "DESCRIBE", code, said);
  session = MediaSession::createNew(client->envir(), said);
  delete[] said;
  if (session == nullptr) return (void)failed(client, "the description", 0, nullptr);
  next_medium = new MediaSubsessionIterator(*session);
  set_up_next(client);
}

static void torn_down(RTSPClient*, int, char* said) {
  delete[] said;
  done = 1;
}

int main(int count, char** argument) {
  if (count != 4) {
    fprintf(stderr, "play URL tcp|udp|multicast|http:PORT COUNT\n");
    return 2;
  }
  unsigned short port = 0;  // Of HTTP, in which RTSP is tunnelled; 0 for none.
  by_tcp = strcmp(argument[2], "tcp") == 0 || sscanf(argument[2], "http:%hu", &port) == 1;
  by_multicast = strcmp(argument[2], "multicast") == 0;
  wanted = (unsigned)atoi(argument[3]);
  TaskScheduler* scheduler = BasicTaskScheduler::createNew();
  UsageEnvironment* env = BasicUsageEnvironment::createNew(*scheduler);
  RTSPClient* client = RTSPClient::createNew(*env, argument[1], 0, "penstock-tests", port);
  client->sendDescribeCommand(described);
  env->taskScheduler().doEventLoop(&done);
  fflush(stdout);
  if (session != nullptr && status == 0 && wanted != 0) {
    done = 0;
    client->sendTeardownCommand(*session, torn_down);
    // The connection is the server's to close; its answer comes first.
    env->taskScheduler().doEventLoop(&done);
  }
  return status;
}
