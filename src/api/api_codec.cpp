// The C API: codecs.
#include <charconv>

#include "api_internal.h"

namespace tutti::api {
namespace {

Status create(tutti_codec** codec, const Result<CodecSpec>& spec, size_t count, tutti_dtype dtype) {
  if (!spec.ok()) return spec.status();
  if (dtype < 0 || dtype >= kDataTypes)
    return wrong("tutti_codec_create: unknown dtype " + std::to_string(static_cast<int>(dtype)));
  auto tensor = TensorCodec::create(*spec, count, static_cast<DataType>(dtype));
  if (!tensor.ok()) return tensor.status();
  *codec = new tutti_codec{std::move(*tensor)};
  return {};
}

// The config as a text, so that there is one grammar and one place that checks.
std::string text_of(const tutti_codec_config& config) {
  std::string text = std::string(config.automatic ? "auto:" : "") + config.name;
  char separator = text.find(':', config.automatic ? 5 : 0) == std::string::npos ? ':' : ',';
  const auto add = [&](const char* key, const std::string& value) {
    text += separator + std::string(key) + "=" + value;
    separator = ',';
  };
  const auto number = [&](const char* key, double value) {
    char digits[32];
    add(key, std::string(digits, std::to_chars(digits, digits + sizeof digits, value).ptr));
  };
  if (config.feedback >= 0) add("feedback", std::to_string(config.feedback));
  if (config.group != 0) add("group", std::to_string(config.group));
  if (config.rounding) add("round", config.rounding);
  if (config.range) add("range", config.range);
  if (config.levels != 0) add("levels", std::to_string(config.levels));
  if (config.ratio != 0) number("ratio", config.ratio);
  if (config.k != 0) add("k", std::to_string(config.k));
  if (config.chunk != 0) add("chunk", std::to_string(config.chunk));
  if (config.values) add("values", config.values);
  if (config.momentum != 0) number("momentum", config.momentum);
  if (config.clip_norm != 0) number("clip_norm", config.clip_norm);
  if (config.masking >= 0) add("masking", std::to_string(config.masking));
  if (config.warmup != 0) add("warmup", std::to_string(config.warmup));
  if (config.seed != 0) add("seed", std::to_string(config.seed));
  return text;
}

}  // namespace
}  // namespace tutti::api

using namespace tutti;
using namespace tutti::api;

tutti_status tutti_codec_create(tutti_codec** codec, const char* spec, size_t count, tutti_dtype dtype) {
  return guarded(nullptr, [&]() -> Status {
    if (!codec) return wrong("tutti_codec_create: codec is NULL");
    *codec = nullptr;
    if (!spec) return wrong("tutti_codec_create: spec is NULL");
    return create(codec, parse_codec(spec), count, dtype);
  });
}

void tutti_codec_config_init_sized(tutti_codec_config* config, size_t struct_size) {
  tutti_codec_config defaults{};
  defaults.struct_size = sizeof defaults;
  defaults.feedback = defaults.masking = -1;
  init_caller(config, struct_size, defaults);
}

void(tutti_codec_config_init)(tutti_codec_config* config) { tutti_codec_config_init_sized(config, sizeof *config); }

tutti_status tutti_codec_create_from(tutti_codec** codec, const tutti_codec_config* config, size_t count, tutti_dtype dtype) {
  return guarded(nullptr, [&]() -> Status {
    if (!codec) return wrong("tutti_codec_create_from: codec is NULL");
    *codec = nullptr;
    if (!config) return wrong("tutti_codec_create_from: config is NULL");
    tutti_codec_config ours;
    tutti_codec_config_init(&ours);
    if (Status status = from_caller(ours, *config); !status.ok()) return status;
    if (!ours.name) return wrong("tutti_codec_create_from: config->name is NULL");
    return create(codec, parse_codec(text_of(ours)), count, dtype);
  });
}

tutti_status tutti_codec_destroy(tutti_codec* codec) {
  return guarded(nullptr, [&]() -> Status {
    if (codec && codec->tensor->in_use())
      return wrong("tutti_codec_destroy: codec " + codec->tensor->text() +
                   " is in use by a call that has not ended; wait for it first");
    delete codec;
    return {};
  });
}

const char* tutti_codec_spec(const tutti_codec* codec) { return codec ? codec->tensor->text().c_str() : ""; }

tutti_status tutti_codec_reset(tutti_codec* codec) {
  return guarded(nullptr, [&] { return codec ? codec->tensor->reset() : wrong("tutti_codec_reset: codec is NULL"); });
}

tutti_status tutti_codec_scale(tutti_codec* codec, double factor) {
  return guarded(nullptr, [&] { return codec ? codec->tensor->scale(factor) : wrong("tutti_codec_scale: codec is NULL"); });
}

tutti_status tutti_codec_norm(const tutti_codec* codec, double* norm) {
  return guarded(nullptr,
                 [&] { return codec && norm ? codec->tensor->norm(*norm) : wrong("tutti_codec_norm: codec or norm is NULL"); });
}

tutti_status tutti_codec_export(const tutti_codec* codec, void* memory, size_t* bytes) {
  return guarded(nullptr, [&]() -> Status {
    if (!codec || !bytes) return wrong("tutti_codec_export: codec or bytes is NULL");
    const size_t room = *bytes;
    *bytes = codec->tensor->saved_bytes();
    return memory ? codec->tensor->save({static_cast<std::byte*>(memory), room}) : Status();
  });
}

tutti_status tutti_codec_import(tutti_codec* codec, const void* memory, size_t bytes) {
  return guarded(nullptr, [&]() -> Status {
    if (!codec || (!memory && bytes > 0)) return wrong("tutti_codec_import: codec or memory is NULL");
    return codec->tensor->restore({static_cast<const std::byte*>(memory), bytes});
  });
}
